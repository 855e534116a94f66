#!/usr/bin/env bash
# Fetches the pinned ONNX Runtime library: its wheel by pip, the digest checked, the shared library
# unpacked to .scargate/onnxruntime/libonnxruntime.so. No Python is needed afterwards. The wheel of any
# Python version carries the same library, so one is named whatever Python is installed here.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VERSION=1.31.1
SHA256_x86_64=5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f
SHA256_aarch64=da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3

case "${1:-}" in
  -h|--help) echo "usage: scripts/onnxruntime.sh [FOLDER]   (default: $TOOLS/onnxruntime)"; exit 0 ;;
esac
DEST=${1:-$TOOLS/onnxruntime}
MACHINE=$(uname -m)
case $MACHINE in
  x86_64) SHA256=$SHA256_x86_64 ;;
  aarch64) SHA256=$SHA256_aarch64 ;;
  *) die onnxruntime "no pinned library for $MACHINE; build ONNX Runtime $VERSION yourself and name it in the configuration (infer.library)" ;;
esac

if [ "$(cat "$DEST/.stamp" 2>/dev/null)" = "$SHA256" ] && [ -s "$DEST/libonnxruntime.so" ]; then
  say onnxruntime "$VERSION already there"
  exit 0
fi

if [ -x "$TOOLS/venv/bin/python" ]; then PYTHON=$TOOLS/venv/bin/python; else PYTHON=python3; fi
"$PYTHON" -m pip --version >/dev/null 2>&1 || die onnxruntime "pip is needed; run scripts/install.sh"

say onnxruntime "fetching $VERSION for $MACHINE (about 24 MB)"
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT
"$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --python-version 3.11 --implementation cp --abi cp311 \
  --platform "manylinux_2_28_$MACHINE" --platform "manylinux_2_27_$MACHINE" \
  "onnxruntime==$VERSION" -d "$TMP" >&2 || die onnxruntime "pip could not download onnxruntime $VERSION"
WHEEL=$(ls "$TMP"/onnxruntime-*.whl)
FOUND=$(sha256sum < "$WHEEL" | cut -c1-64)
[ "$FOUND" = "$SHA256" ] || die onnxruntime "digest of the wheel is $FOUND, expected $SHA256: not used"

mkdir -p "$DEST"
"$PYTHON" - "$WHEEL" "$DEST" "libonnxruntime.so.$VERSION" <<'PY'
import pathlib, sys, zipfile
wheel, dest, name = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
with zipfile.ZipFile(wheel) as z:
    (dest / name).write_bytes(z.read(f"onnxruntime/capi/{name}"))
    for notice in ("LICENSE", "ThirdPartyNotices.txt"):
        (dest / notice).write_bytes(z.read(f"onnxruntime/{notice}"))
PY
ln -sf "libonnxruntime.so.$VERSION" "$DEST/libonnxruntime.so"
chmod 755 "$DEST/libonnxruntime.so.$VERSION"
echo "$SHA256" > "$DEST/.stamp"
say onnxruntime "$VERSION in $DEST"
