# Shared by the scripts beside it: folders, messages, ports, secrets, processes. Sourced, never run.
#
# SCARGATE_TOOLS      what install.sh downloads (Python venv, ONNX Runtime). Default: .scargate in the checkout.
# SCARGATE_STATE      data, logs and secrets of one set of servers.           Default: .scargate in the checkout.
# SCARGATE_PORT_BASE  first of the ports of that set.                         Default: 24000, or the next free block.
set -euo pipefail
umask 022

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
TOOLS=${SCARGATE_TOOLS:-$ROOT/.scargate}
STATE=${SCARGATE_STATE:-$ROOT/.scargate}
# A relative folder means "in the checkout", wherever the caller stands.
case $TOOLS in /*) ;; *) TOOLS=$ROOT/$TOOLS ;; esac
case $STATE in /*) ;; *) STATE=$ROOT/$STATE ;; esac
SECRETS=$STATE/secrets
PORTS_PER_SET=20
NAMES="postgres rabbitmq orthanc ehr"

say()  { printf '%-11s %s\n' "$1" "$2" >&2; }
warn() { printf '%-11s warning: %s\n' "$1" "$2" >&2; }
die()  { printf '%-11s error: %s\n' "$1" "$2" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# rustup's folder is on the path only in a new login shell; right after installing it must be found too.
if ! have cargo && [ -x "${HOME:-}/.cargo/bin/cargo" ]; then PATH=$HOME/.cargo/bin:$PATH; fi

# --- ports ---------------------------------------------------------------------------------------

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

block_taken() {
  local p
  for p in $(seq "$1" $(($1 + 9))); do
    if port_taken "$p"; then return 0; fi
  done
  return 1
}

# Settles the port base once per state folder, so that every later call finds the same servers. Only a set
# about to start, of which nothing runs, moves when another program took its ports meanwhile.
choose_ports() {
  local saved="" base
  [ -f "$STATE/port-base" ] && saved=$(cat "$STATE/port-base")
  if [ -n "${SCARGATE_PORT_BASE:-}" ]; then
    base=$SCARGATE_PORT_BASE
    if [ -n "$saved" ] && [ "$saved" != "$base" ] && any_alive; then
      die ports "servers of $STATE run on ports from $saved; run 'scripts/servers.sh down' without SCARGATE_PORT_BASE first"
    fi
  elif [ -n "$saved" ] && { [ "${1:-}" != starting ] || any_alive || ! block_taken "$saved"; }; then
    base=$saved
  else
    base=${SCARGATE_PORT_FROM:-24000}
    while block_taken "$base"; do
      base=$((base + PORTS_PER_SET))
      [ "$base" -lt 26000 ] || die ports "no free block of ports up to 26000; set SCARGATE_PORT_BASE"
    done
  fi
  case $base in ''|*[!0-9]*) die ports "SCARGATE_PORT_BASE must be a number, not '$base'" ;; esac
  { [ "$base" -ge 1024 ] && [ "$base" -le 65500 ]; } || die ports "SCARGATE_PORT_BASE must be between 1024 and 65500, not $base"
  mkdir -p "$STATE"
  [ "$saved" = "$base" ] || echo "$base" > "$STATE/port-base"
  PORT_BASE=$base
  GATEWAY_PORT=$base
  PG_PORT=$((base + 1))
  AMQP_PORT=$((base + 2))
  AMQP_HTTP_PORT=$((base + 3))
  AMQP_DIST_PORT=$((base + 4))
  AMQP_EPMD_PORT=$((base + 5))
  PACS_PORT=$((base + 6))
  AMQP_METRICS_PORT=$((base + 7))
  EHR_PORT=$((base + 8))
}

# --- secrets -------------------------------------------------------------------------------------

private_folder() { mkdir -p "$1"; chmod 700 "$1"; }

# private_file PATH: standard input into a file that only its owner reads.
private_file() { (umask 077; cat > "$1.new"; mv "$1.new" "$1"); }

# secret NAME: makes secrets/NAME with 32 random hex characters if it is not there, prints its content.
secret() {
  local file=$SECRETS/$1
  private_folder "$SECRETS"
  [ -s "$file" ] || head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n' | private_file "$file"
  cat "$file"
}

# --- processes -----------------------------------------------------------------------------------
# run/NAME.pid holds "pid start-time": a recycled process number is never mistaken for our server.

start_time() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

remember_pid() { mkdir -p "$STATE/run"; echo "$2 $(start_time "$2")" > "$STATE/run/$1.pid"; }

# pid_of NAME: prints the process number if the server runs, else fails.
pid_of() {
  local pid start
  read -r pid start 2>/dev/null < "$STATE/run/$1.pid" || return 1
  [ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ] || return 1
  # A zombie is dead, even if nobody has collected it yet.
  [ "$(sed 's/^.*) //' "/proc/$pid/stat" 2>/dev/null | cut -c1)" != Z ] || return 1
  echo "$pid"
}

alive() { pid_of "$1" >/dev/null 2>&1; }

any_alive() { local n; for n in $NAMES; do if alive "$n"; then return 0; fi; done; return 1; }

# background NAME LOG COMMAND...: starts a server that outlives this shell, with its output in LOG.
background() {
  local name=$1 log=$2; shift 2
  setsid "$@" > "$log" 2>&1 < /dev/null 9>&- &
  remember_pid "$name" $!
}

# wait_for NAME SECONDS LOG COMMAND...: until COMMAND succeeds; stops early when the process died.
wait_for() {
  local name=$1 seconds=$2 log=$3; shift 3
  local end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    if ! alive "$name"; then
      tail -n 8 "$log" >&2 || true
      die "$name" "stopped while starting; the end of $log is above"
    fi
    if [ $SECONDS -ge $end ]; then
      tail -n 8 "$log" >&2 || true
      die "$name" "did not answer within $seconds s; the end of $log is above"
    fi
    sleep 0.1
  done
}

# stop_process NAME SIGNAL SECONDS
stop_process() {
  local name=$1 signal=$2 seconds=$3 pid
  if ! pid=$(pid_of "$name"); then rm -f "$STATE/run/$name.pid"; say "$name" "not running"; return 0; fi
  kill "-$signal" "$pid"
  local end=$((SECONDS + seconds))
  while alive "$name"; do
    if [ $SECONDS -ge $end ]; then
      warn "$name" "did not stop within $seconds s, killing it"
      kill -KILL "$pid" 2>/dev/null || true
      end=$((SECONDS + 10))
    fi
    sleep 0.05
  done
  rm -f "$STATE/run/$name.pid"
  say "$name" "stopped"
}

# The venv's Python, with a word on how to get it.
venv_python() {
  [ -x "$TOOLS/venv/bin/python" ] || die python "no $TOOLS/venv; run scripts/install.sh"
  echo "$TOOLS/venv/bin/python"
}
