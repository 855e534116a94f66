#!/usr/bin/env bash
# The whole way of one synthetic study on real servers: what is missing is installed, servers are started, the
# gateway is built, and `scargate demo` sends a phantom through the PACS and shows what came back.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in
  -h|--help)
    cat <<'HELP'
usage: scripts/demo.sh [ARGUMENT...]     arguments are handed to `scargate demo` (see scargate demo --help)

Steps: install, servers, build, migrate, demo. The first run takes many minutes on two cores, nearly all of
it building; later runs about a minute. The servers go on afterwards, so that what was made can be looked at:
`make status`, `make down`.
HELP
    exit 0 ;;
esac

cd "$ROOT"
started=$SECONDS
step() { printf '\n\033[1m[%d/4] %s\033[0m\n' "$1" "$2" >&2; }

step 1 "What is needed"
scripts/install.sh
step 2 "Servers"
scripts/servers.sh up
step 3 "Building scargate (minutes the first time, seconds later)"
cargo build --locked --bin scargate
BIN=${CARGO_TARGET_DIR:-target}/debug/scargate
CONFIG=$STATE/dev.toml
"$BIN" --config "$CONFIG" config check
"$BIN" --config "$CONFIG" migrate
step 4 "A study from the PACS to the EHR (set-up took $((SECONDS - started)) s)"
# The scheduling system's part: the patient and the order are in the EHR before the scanner starts.
ACCESSION=D$(date +%y%m%d%H%M%S)
"$(venv_python)" scripts/seed_ehr.py --state "$STATE" --patient-id DEMO-1 --birth-date 1960-02-14 \
  --accession "$ACCESSION" > "$STATE/demo-references.json"
exec "$BIN" --config "$CONFIG" demo --patient-id DEMO-1 --birth-date 19600214 --accession "$ACCESSION" "$@"
