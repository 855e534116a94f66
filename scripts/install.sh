#!/usr/bin/env bash
# Installs what the demo and the tests need and is not there yet. Safe to run again: each step says
# what it does and is skipped when done. Root, or a user with sudo, is needed only for Debian packages.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
  -h|--help)
    cat <<'HELP'
usage: scripts/install.sh

Installs: Debian packages (PostgreSQL, RabbitMQ, Orthanc with DICOMweb, DICOM tools, build tools),
a Python venv with pinned packages, Node with the pinned packages of scripts/cornerstone (a test reads our SEG as web
viewers do), and the pinned ONNX Runtime library. Checks the Rust toolchain.
Everything that is not a Debian package goes under .scargate/ (SCARGATE_TOOLS overrides).
HELP
    exit 0 ;;
  "") ;;
  *) die install "unknown argument '$1' (see --help)" ;;
esac

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif have sudo; then sudo "$@"
  else die packages "not root and no sudo; as root run: $*"; fi
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Packages that bring a server start it on its usual port at once. Ours are private ones, so the
# package's own service is kept from starting now and at boot, unless it was there before us.
install_packages() {
  local policy=/usr/sbin/policy-rc.d made_policy="" unit
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
    as_root chmod 755 $policy
    made_policy=yes
  fi
  local rc=0
  as_root apt-get -q update >"$STATE/apt.log" 2>&1 || warn packages "apt-get update failed (see $STATE/apt.log); trying with the lists at hand"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install "$@" >>"$STATE/apt.log" 2>&1 || rc=$?
  [ -z "$made_policy" ] || as_root rm -f $policy
  if [ $rc != 0 ]; then tail -n 12 "$STATE/apt.log" >&2; die packages "apt-get install failed; the end of $STATE/apt.log is above"; fi
  if [ -d /run/systemd/system ]; then
    for unit in postgresql rabbitmq-server orthanc nginx; do
      case " $* " in *" $unit "*) as_root systemctl disable --quiet "$unit" 2>/dev/null || true ;; esac
    done
  fi
}

step_packages() {
  local wanted="build-essential ca-certificates cmake curl dcmtk dicom3tools nginx-light openssl orthanc orthanc-dicomweb pkg-config poppler-utils procps python3-venv rabbitmq-server util-linux"
  have node || wanted="$wanted nodejs"
  have npm || wanted="$wanted npm"
  compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || wanted="$wanted postgresql"
  if ! have dpkg-query; then
    local missing="" tool
    for tool in cc cmake curl openssl setpriv flock nginx dciodvfy dcmdump pdftotext Orthanc rabbitmq-server node npm; do have $tool || missing="$missing $tool"; done
    [ -z "$missing" ] || die packages "not a Debian-like system, and these programs are missing:$missing. Install them and run this again."
    say packages "not a Debian-like system; the programs are there"
    return
  fi
  local missing="" p
  for p in $wanted; do installed "$p" || missing="$missing $p"; done
  if [ -z "$missing" ]; then say packages "already there"; return; fi
  say packages "installing$missing"
  # shellcheck disable=SC2086 # a list of package names
  install_packages $missing
}

python_for_venv() {
  local p
  for p in "${SCARGATE_PYTHON:-}" python3 python3.13 python3.12 python3.11 /usr/bin/python3; do
    if [ -n "$p" ] && have "$p" && "$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; return; fi
  done
  die python "Python 3.11 or later with the venv module is needed; install it and name it in SCARGATE_PYTHON"
}

step_python() {
  local python venv=$TOOLS/venv list=$ROOT/scripts/requirements.txt stamp
  python=$(python_for_venv)
  stamp="$("$python" -V) $(sha256sum < "$list" | cut -c1-64)"
  if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.stamp" 2>/dev/null)" = "$stamp" ]; then say python "already there"; return; fi
  say python "making $venv with $("$python" -V)"
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$list" >"$STATE/pip.log" 2>&1 \
    || { tail -n 12 "$STATE/pip.log" >&2; die python "pip install failed; the end of $STATE/pip.log is above"; }
  echo "$stamp" > "$venv/.stamp"
}

step_node() {
  local from=$ROOT/scripts/cornerstone to=$TOOLS/cornerstone stamp
  # The hooks that resolve.mjs registers came with Node 18.19 and 20.6.
  node -e 'process.exit(require("module").register ? 0 : 1)' || die node "Node 18.19, 20.6 or later is needed, not $(node --version 2>&1)"
  stamp="$(node --version) $(sha256sum < "$from/package-lock.json" | cut -c1-64)"
  if [ "$(cat "$to/.stamp" 2>/dev/null)" = "$stamp" ]; then say node "already there"; return; fi
  say node "installing the packages of scripts/cornerstone with Node $(node --version)"
  rm -rf "$to"
  mkdir -p "$to"
  cp "$from/package.json" "$from/package-lock.json" "$from/.npmrc" "$to/"
  (cd "$to" && npm ci) >"$STATE/npm.log" 2>&1 \
    || { tail -n 12 "$STATE/npm.log" >&2; die node "npm ci failed; the end of $STATE/npm.log is above"; }
  echo "$stamp" > "$to/.stamp"
}

step_rust() {
  local need found
  need=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
  if ! have cargo && have apt-cache && apt-cache show rustup >/dev/null 2>&1; then
    say rust "installing rustup and the stable toolchain"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y --no-install-recommends install rustup >>"$STATE/apt.log" 2>&1 \
      && rustup default stable >>"$STATE/apt.log" 2>&1 || warn rust "that failed; see $STATE/apt.log"
  fi
  have cargo || die rust "no Rust toolchain. Install Rust $need or later (rustup.rs, or the package rustup of your system), then run this again."
  found=$(rustc --version | cut -d' ' -f2)
  if [ "$(printf '%s\n%s\n' "$need" "$found" | sort -V | head -n 1)" != "$need" ]; then
    die rust "Rust $found is too old; $need or later is needed. Try: rustup update stable"
  fi
  say rust "$found"
}

mkdir -p "$TOOLS" "$STATE"
step_packages
step_python
step_node
"$ROOT/scripts/onnxruntime.sh"
step_rust
