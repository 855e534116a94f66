#!/usr/bin/env bash
# All that must be green, in stages, with the minutes of each. Needs no server at hand: it starts its own
# set under .scargate/test and stops it at the end (SCARGATE_KEEP=1 leaves it running for a next run).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
  cat <<'HELP'
usage: scripts/test.sh [STAGE...]     stages in order: install lint build servers unit it python models; default all

One profile (dev) serves lint, tests and the demo, so that nothing is compiled twice.
CARGO_TARGET_DIR is respected. Output of every stage is kept in .scargate/test-logs/.
HELP
}
case "${1:-}" in -h|--help) usage; exit 0 ;; esac

ALL="install lint build servers unit it python models"
WANTED=${*:-$ALL}
for stage in $WANTED; do case " $ALL " in *" $stage "*) ;; *) usage >&2; die test "unknown stage '$stage'" ;; esac; done

export SCARGATE_STATE=${SCARGATE_STATE:-.scargate/test}
export SCARGATE_PORT_FROM=${SCARGATE_PORT_FROM:-24400}   # away from the demo's, which may start while tests run
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
LOGS=$ROOT/.scargate/test-logs
mkdir -p "$LOGS"
cd "$ROOT"
PASSED=0 FAILED=0 TABLE="" BROKEN=""

# --- stages --------------------------------------------------------------------------------------

stage_install() { scripts/install.sh; }

stage_lint() {
  local rc=0
  cargo fmt --all --check || rc=1
  cargo clippy --workspace --all-targets --locked --quiet -- -D warnings || rc=1
  # GPU builds cannot run here; that they compile can be told.
  cargo check -p scargate --lib --locked --quiet --features cuda,tensorrt || rc=1
  RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet || rc=1
  python3 scripts/check_licences.py || rc=1
  python3 scripts/check_tree.py || rc=1
  bash -n scripts/*.sh scripts/servers/*.sh || rc=1
  return $rc
}

stage_build() { cargo test --no-run --workspace --locked --quiet; }

stage_servers() { scripts/servers.sh wipe && scripts/servers.sh up; }

run_tests() { # run_tests CARGO-ARGUMENTS...
  if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --locked --no-tests=pass --cargo-quiet "$@"
  else
    cargo test --locked --quiet --no-fail-fast "$@"
  fi
}

stage_unit() { run_tests --workspace --lib --bins; }
stage_it() { run_tests -p scargate --test it; }

stage_python() {
  local python
  python=$(venv_python) || return 1
  "$python" -m unittest discover -s scripts/tests -t scripts -p 'test_*.py' || return 1
  "$python" -m compileall -q scripts models || return 1
}

# The training recipes: their own tests, then the whole recipe in a minute on phantoms. PyTorch is large: see models/train.
stage_models() {
  local binary
  binary=$(realpath "${CARGO_TARGET_DIR:-target}/debug/scargate")
  make -C models/train venv && make -C models/train test && make -C models/train smoke SCARGATE="$binary"
}

# --- running and counting ------------------------------------------------------------------------

# count LOG: adds up what nextest, cargo test and unittest said.
count() {
  local passed failed
  passed=$(sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
    /^ *Summary \[.*tests? run:/ { for (i = 2; i <= NF; i++) if ($i ~ /^passed/) n += $(i-1) }
    /^test result:/              { for (i = 2; i <= NF; i++) if ($i ~ /^passed/) n += $(i-1) }
    /^Ran [0-9]+ tests? in/      { ran += $2 }
    /^=*[ ]*[0-9]+ passed.* in / { for (i = 2; i <= NF; i++) if ($i ~ /^passed/) n += $(i-1) }
    /^FAILED \(/                 { while (match($0, /(failures|errors)=[0-9]+/)) { split(substr($0, RSTART, RLENGTH), p, "="); bad += p[2]; $0 = substr($0, RSTART + RLENGTH) } }
    END { print n + ran - bad + 0 }')
  failed=$(sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
    /^ *Summary \[.*tests? run:/ { for (i = 2; i <= NF; i++) if ($i ~ /^(failed|timed)/) n += $(i-1) }
    /^test result:/              { for (i = 2; i <= NF; i++) if ($i ~ /^failed/) n += $(i-1) }
    /^FAILED \(/                 { while (match($0, /(failures|errors)=[0-9]+/)) { split(substr($0, RSTART, RLENGTH), p, "="); n += p[2]; $0 = substr($0, RSTART + RLENGTH) } }
    /^=*[ ]*[0-9]+ (failed|error).* in / { for (i = 2; i <= NF; i++) if ($i ~ /^(failed|error)/) n += $(i-1) }
    END { print n + 0 }')
  PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
}

minutes() { awk -v s="$1" 'BEGIN { printf "%.1f", s / 60 }'; }

run_stage() {
  local stage=$1 log=$LOGS/$1.log start=$SECONDS rc=0 before=$FAILED
  printf '\n=== %s\n' "$stage"
  ("stage_$stage") 2>&1 | tee "$log" || rc=${PIPESTATUS[0]}
  count "$log"
  # A stage that broke without a failed test (a lint, a build) counts as one failure.
  if [ "$rc" != 0 ] && [ "$FAILED" = "$before" ]; then FAILED=$((FAILED + 1)); fi
  if [ "$rc" != 0 ]; then BROKEN="$BROKEN $stage"; fi
  TABLE+=$(printf '%-10s %6s min  %s' "$stage" "$(minutes $((SECONDS - start)))" "$([ "$rc" = 0 ] && echo ok || echo FAILED)")$'\n'
  return "$rc"
}

finish() {
  local rc=$?
  case " $WANTED " in
    *" servers "*) [ -n "${SCARGATE_KEEP:-}" ] || scripts/servers.sh down >/dev/null 2>&1 || true ;;
  esac
  printf '\n%s%-10s %6s min\n' "$TABLE" total "$(minutes $SECONDS)"
  [ -z "$BROKEN" ] || printf 'failed:%s (logs in %s)\n' "$BROKEN" ".scargate/test-logs"
  [ "$rc" = 0 ] || [ "$FAILED" != 0 ] || FAILED=1
  printf '\n%d passed, %d failed\n' "$PASSED" "$FAILED"
  [ "$FAILED" = 0 ] || exit 1
}
trap finish EXIT

for stage in $WANTED; do
  # Without these nothing after them can work; the others are reported together at the end.
  run_stage "$stage" || case $stage in install|build|servers) exit 1 ;; esac
done
