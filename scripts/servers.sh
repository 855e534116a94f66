#!/usr/bin/env bash
# Private servers for the demo and the tests: loopback only, own ports, data and secrets under .scargate/.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
for part in $NAMES gateway; do . "$ROOT/scripts/servers/$part.sh"; done

usage() {
  cat <<'HELP'
usage: scripts/servers.sh COMMAND [NAME...]     NAME: postgres (pg), rabbitmq, orthanc, ehr; default all

  up        start what does not run (start is the same)
  down      stop cleanly, data kept (stop is the same)
  restart   down, then up
  kill      SIGKILL, as a crash would; start again with up
  status    what runs, where
  env       the addresses and secret files of this set as shell variables; .scargate/dev.toml is the
            gateway's configuration for it
  wipe      down, then delete data and secrets

Variables: SCARGATE_STATE (folder, default .scargate), SCARGATE_PORT_BASE (first port),
SCARGATE_PG_DURABLE=off (quick and unsafe).
HELP
}

# Everything that another program needs to use this set. Secrets are named by file, never printed.
print_environment() {
  cat <<ENV
SCARGATE_STATE=$STATE
SCARGATE_TOOLS=$TOOLS
SCARGATE_SECRETS=$SECRETS
SCARGATE_PORT_BASE=$PORT_BASE
SCARGATE_GATEWAY_PORT=$GATEWAY_PORT
SCARGATE_PG_PORT=$PG_PORT
SCARGATE_AMQP_PORT=$AMQP_PORT
SCARGATE_AMQP_HTTP_PORT=$AMQP_HTTP_PORT
SCARGATE_PACS_URL=http://127.0.0.1:$PACS_PORT/dicom-web
SCARGATE_PACS_PORT=$PACS_PORT
SCARGATE_EHR_URL=http://127.0.0.1:$EHR_PORT/fhir
SCARGATE_EHR_PORT=$EHR_PORT
SCARGATE_EHR_TOKEN_URL=http://127.0.0.1:$EHR_PORT/auth/token
SCARGATE_ORT_LIBRARY=$TOOLS/onnxruntime/libonnxruntime.so
SCARGATE_PYTHON=$TOOLS/venv/bin/python
SCARGATE_DEV_CONFIG=$STATE/dev.toml
ENV
}

status() {
  local n pid rc=0
  for n in "$@"; do
    if pid=$(pid_of "$n"); then say "$n" "runs, process $pid, $(memory_of "$pid") MiB"; else say "$n" "stopped"; rc=3; fi
  done
  say ports "from $PORT_BASE; data in $STATE"
  return $rc
}

memory_of() { awk '/^VmRSS/ { printf "%d", $2 / 1024 }' "/proc/$1/status" 2>/dev/null; }

wipe() {
  local n
  for n in $NAMES; do "${n}_down"; done
  case $STATE in ''|/|"$HOME") die wipe "refusing to delete $STATE" ;; esac
  pg_place
  rm -rf "$STATE/postgres" "$STATE/postgres-elsewhere" "$STATE/rabbitmq" "$STATE/orthanc" "$STATE/ehr" "$SECRETS" \
    "$STATE/log" "$STATE/run" "$STATE/port-base" "$STATE/env" \
    "$STATE/dev.toml" "$STATE/spool" "$STATE/checkpoints" "$PG_DIR"
  say wipe "deleted data and secrets in $STATE"
}

[ $# -gt 0 ] || { usage; exit 2; }
command=$1; shift
case $command in -h|--help|help) usage; exit 0 ;; esac
names=""
for n in "$@"; do
  case $n in
    pg|postgres) names="$names postgres" ;;
    rabbitmq|orthanc|ehr) names="$names $n" ;;
    *) die servers "unknown server '$n' (one of: $NAMES)" ;;
  esac
done
names=${names:-$NAMES}

mkdir -p "$STATE/log" "$STATE/run"
# One change at a time. The lock is not inherited by the servers (background closes it).
exec 9>"$STATE/lock"
flock -w 120 9 || die servers "another scripts/servers.sh works on $STATE for two minutes already"
case $command in up|start|restart) choose_ports starting ;; *) choose_ports ;; esac

case $command in
  up|start)
    print_environment > "$STATE/env"
    gateway_configure
    for n in $names; do "${n}_up"; done ;;
  down|stop) for n in $names; do "${n}_down"; done ;;
  restart) for n in $names; do "${n}_down"; "${n}_up"; done ;;
  kill) for n in $names; do stop_process "$n" KILL 10; done ;;
  # shellcheck disable=SC2086 # a list of names
  status) status $names ;;
  env) print_environment ;;
  wipe) wipe ;;
  *) usage >&2; exit 2 ;;
esac
