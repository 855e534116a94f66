# PostgreSQL: a private cluster with durable settings, three roles and one database. Sourced by servers.sh.
#
# Roles: scargate_owner owns the schema (migrations only), scargate_app is the gateway, scargate_auditor
# reads the ledger. scargate_admin makes databases and is for set-up and tests alone.

pg_bin() {
  local major dir
  if major=$(pg_read PG_VERSION); then
    dir=/usr/lib/postgresql/$major/bin
    [ -x "$dir/postgres" ] || dir=$(pg_config --bindir 2>/dev/null || true)
    [ -x "$dir/postgres" ] || die postgres "the data in $PG_DIR was made by PostgreSQL $major, which is not installed; install postgresql-$major or move that folder away"
  else
    dir=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1 || true)
    [ -x "$dir/initdb" ] || dir=$(pg_config --bindir 2>/dev/null || true)
    [ -x "$dir/initdb" ] || die postgres "PostgreSQL is not installed; run scripts/install.sh"
  fi
  echo "$dir"
}

pg_read() { cat "$PG_DIR/data/$1" 2>/dev/null; }

# PostgreSQL refuses to run as root: then it runs as the user postgres (or nobody), who must be able to
# reach its folder. A checkout under /root cannot be entered by anyone else, so the data goes to /var/lib.
pg_place() {
  PG_DIR=$STATE/postgres
  PG_AS=()
  [ "$(id -u)" = 0 ] || return 0
  PG_USER=postgres
  id -u postgres >/dev/null 2>&1 || PG_USER=nobody
  PG_AS=(setpriv "--reuid=$PG_USER" "--regid=$(id -g "$PG_USER")" --clear-groups)
  mkdir -p "$STATE"
  if ! "${PG_AS[@]}" test -x "$STATE"; then
    PG_DIR=/var/lib/scargate-servers/$(printf '%s' "$STATE" | sha256sum | cut -c1-12)
    mkdir -p "$PG_DIR"
    ln -sfn "$PG_DIR" "$STATE/postgres-elsewhere"
  fi
}

pg_sql() { # pg_sql DATABASE < SQL
  PGPASSWORD=$(secret pg-admin) PGCONNECT_TIMEOUT=3 "$(pg_bin)/psql" -X -q -v ON_ERROR_STOP=1 \
    -h 127.0.0.1 -p "$PG_PORT" -U scargate_admin -d "$1" "${@:2}"
}

pg_make() {
  say postgres "making a cluster in $PG_DIR"
  install -d -m 700 "$PG_DIR"
  printf '%s\n' "$(secret pg-admin)" | private_file "$PG_DIR/admin-password"
  [ ${#PG_AS[@]} = 0 ] || chown -R "$PG_USER" "$PG_DIR"
  rm -rf "$PG_DIR/data.new"
  (cd "$PG_DIR" && "${PG_AS[@]}" "$(pg_bin)/initdb" -D "$PG_DIR/data.new" -U scargate_admin --auth=scram-sha-256 \
    --pwfile="$PG_DIR/admin-password" -E UTF8 --locale=C.UTF-8 --data-checksums -N) >"$STATE/log/postgres-initdb.log" 2>&1 \
    || die postgres "initdb failed, see $STATE/log/postgres-initdb.log"
  rm -f "$PG_DIR/admin-password"
  echo "include 'scargate.conf'" >> "$PG_DIR/data.new/postgresql.conf"
  mv "$PG_DIR/data.new" "$PG_DIR/data"
}

# Durable by default: a killed server may not lose what it acknowledged. SCARGATE_PG_DURABLE=off is
# for quick loops by hand; the fault tests need it on.
pg_configure() {
  local durable=${SCARGATE_PG_DURABLE:-on}
  cat > "$PG_DIR/data/scargate.conf" <<CONF
# Written by scripts/servers/postgres.sh at each start.
listen_addresses = '127.0.0.1'
port = $PG_PORT
unix_socket_directories = ''
max_connections = 300
shared_buffers = 128MB
fsync = $durable
full_page_writes = $durable
synchronous_commit = $durable
log_min_messages = warning
log_min_error_statement = panic
timezone = 'UTC'
CONF
}

pg_roles() {
  local role db
  for role in owner app auditor; do
    echo "DO \$\$ BEGIN CREATE ROLE scargate_$role; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$;"
    echo "ALTER ROLE scargate_$role LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB PASSWORD '$(secret "pg-$role")';"
  done | pg_sql postgres
  for db in scargate; do
    [ "$(pg_sql postgres -At -c "SELECT 1 FROM pg_database WHERE datname = '$db'")" = 1 ] \
      || echo "CREATE DATABASE $db OWNER scargate_owner; REVOKE ALL ON DATABASE $db FROM PUBLIC; GRANT CONNECT ON DATABASE $db TO scargate_app, scargate_auditor;" | tr ';' '\n' | sed 's/$/;/' | pg_sql postgres
  done
}

# After a crash the lock file names a process that may take a moment to vanish.
pg_settle() {
  local pid end=$((SECONDS + 15))
  pid=$(head -n 1 "$PG_DIR/data/postmaster.pid" 2>/dev/null) || return 0
  say postgres "was not stopped cleanly; it will recover from its log"
  while [ -d "/proc/$pid" ] && [ $SECONDS -lt $end ]; do sleep 0.1; done
}

pg_ready() { "$(pg_bin)/pg_isready" -q -h 127.0.0.1 -p "$PG_PORT"; }

postgres_up() {
  pg_place
  if alive postgres; then say postgres "already runs on 127.0.0.1:$PG_PORT"; return; fi
  [ -f "$PG_DIR/data/PG_VERSION" ] || pg_make
  port_taken "$PG_PORT" && die postgres "port $PG_PORT is taken by another program; set SCARGATE_PORT_BASE to a free block"
  pg_settle
  pg_configure
  local log=$STATE/log/postgres.log
  pushd "$PG_DIR" >/dev/null   # postgres must be able to enter the current folder
  background postgres "$log" "${PG_AS[@]}" "$(pg_bin)/postgres" -D "$PG_DIR/data"
  popd >/dev/null
  wait_for postgres 60 "$log" pg_ready
  pg_roles
  say postgres "runs on 127.0.0.1:$PG_PORT"
}

postgres_down() { pg_place; stop_process postgres INT 30; }   # INT: fast shutdown, open sessions are cut
