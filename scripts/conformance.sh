#!/usr/bin/env bash
# Outputs of many phantoms before every independent DICOM and FHIR reader; no server is needed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in -h|--help) echo "usage: scripts/conformance.sh [--seeds N] [--first N] [--report FILE.md]"; exit 0 ;; esac
cd "$ROOT"
scripts/install.sh
cargo build --locked --bin scargate
export SCARGATE_INFER__LIBRARY=${SCARGATE_INFER__LIBRARY:-$TOOLS/onnxruntime/libonnxruntime.so}
"$(venv_python)" scripts/conformance.py --binary "${CARGO_TARGET_DIR:-target}/debug/scargate" "$@"
