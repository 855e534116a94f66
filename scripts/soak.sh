#!/usr/bin/env bash
# Many studies through all servers while these and the gateway are killed. SOAK_MINUTES (default 30) bounds it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

case "${1:-}" in -h|--help) echo "usage: SOAK_MINUTES=30 scripts/soak.sh [--seed N] [--every SECONDS]"; exit 0 ;; esac
cd "$ROOT"
export SCARGATE_STATE=${SOAK_STATE:-.scargate/soak} SCARGATE_PORT_FROM=24800
scripts/install.sh
cargo build --locked --bin scargate
scripts/servers.sh wipe
scripts/servers.sh up
trap 'scripts/servers.sh down' EXIT
case $SCARGATE_STATE in /*) ;; *) SCARGATE_STATE=$ROOT/$SCARGATE_STATE ;; esac
BIN=${CARGO_TARGET_DIR:-target}/debug/scargate
"$BIN" --config "$SCARGATE_STATE/dev.toml" migrate
"$(venv_python)" scripts/soak.py --binary "$BIN" --state "$SCARGATE_STATE" --minutes "${SOAK_MINUTES:-30}" "$@"
