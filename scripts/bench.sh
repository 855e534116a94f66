#!/usr/bin/env bash
# Timings and memory on a release build: stages of the pipeline, the ledger, a study on real servers.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
  -h|--help)
    cat <<'HELP'
usage: scripts/bench.sh [measures|stages|ledger|models|study]...     default: all. Nothing else should run on the machine.

measures  the measures, and each encoder, on a drawn heart of 12 slices  (cargo bench --bench measures --bench encode)
stages    each step of the analysis, in one process, without servers      (cargo bench --bench stages)
ledger    sealed events a second, queries at a million events             (cargo bench --bench ledger)
models    each model alone: time a slice, memory, threads, batches          (scripts/bench_models.py)
study     a study on real servers, beside a script around the same model  (scripts/bench_study.py)
HELP
    exit 0 ;;
esac
cd "$ROOT"
WANTED=${*:-measures stages ledger models study}
export SCARGATE_STATE=${BENCH_STATE:-.scargate/bench} SCARGATE_PORT_FROM=24600
case $SCARGATE_STATE in /*) ;; *) SCARGATE_STATE=$ROOT/$SCARGATE_STATE ;; esac
scripts/install.sh
# Binary and benches together: apart they would be built with other features of the same crates, twice.
cargo build --release --locked --bin scargate --bench measures --bench encode --bench stages --bench ledger
BIN=${CARGO_TARGET_DIR:-target}/release/scargate
trap 'scripts/servers.sh down' EXIT

# ONNX Runtime for Python, in the version of the library that the gateway loads.
python_runtime() {
  local version
  version=$(sed -n 's/^VERSION=//p' scripts/onnxruntime.sh)
  "$(venv_python)" -m pip install -q --disable-pip-version-check "onnxruntime==$version"
}

for part in $WANTED; do
  printf '\n=== %s\n' "$part"
  case $part in
    measures) cargo bench --locked --bench measures --bench encode ;;
    stages) SCARGATE_ORT_LIBRARY=$TOOLS/onnxruntime/libonnxruntime.so cargo bench --locked --bench stages ;;
    ledger) scripts/servers.sh up pg; cargo bench --locked --bench ledger ;;
    models) python_runtime; "$(venv_python)" scripts/bench_models.py ;;
    study)
      scripts/servers.sh up
      "$BIN" --config "$SCARGATE_STATE/dev.toml" migrate
      python_runtime
      "$(venv_python)" scripts/bench_study.py --binary "$BIN" --state "$SCARGATE_STATE" ${BENCH_ARGS:-} ;;
    *) die bench "unknown part '$part'; see --help" ;;
  esac
done
