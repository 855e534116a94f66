# RabbitMQ: one private node with its own cookie, epmd and data folder. Sourced by servers.sh.
# The wrappers in /usr/sbin switch user and drop the environment, so the scripts below them are called.

rabbit_sbin() {
  local dir
  dir=$(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin 2>/dev/null | sort -V | tail -n 1 || true)
  [ -x "$dir/rabbitmq-server" ] || die rabbitmq "RabbitMQ is not installed; run scripts/install.sh"
  echo "$dir"
}

rabbit_environment() {
  local dir=$STATE/rabbitmq
  export HOME=$dir/home
  # The name is bound to the data: a folder made under one node name is useless under another.
  export RABBITMQ_NODENAME=scargate@localhost
  export RABBITMQ_DIST_PORT=$AMQP_DIST_PORT ERL_EPMD_PORT=$AMQP_EPMD_PORT ERL_EPMD_ADDRESS=127.0.0.1
  export RABBITMQ_MNESIA_BASE=$dir/mnesia RABBITMQ_LOG_BASE=$STATE/log RABBITMQ_LOGS=$STATE/log/rabbitmq.log
  export RABBITMQ_ENABLED_PLUGINS_FILE=$dir/enabled_plugins RABBITMQ_CONFIG_FILE=$dir/rabbitmq.conf
  export RABBITMQ_PID_FILE=$dir/node.pid RABBITMQ_CONF_ENV_FILE=$dir/rabbitmq-env.conf
  export RABBITMQ_GENERATED_CONFIG_DIR=$dir/generated RABBITMQ_SCHEMA_DIR=$dir/schema
  # Loopback also for the distribution port; idle schedulers sleep instead of spinning on a small machine.
  export RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"
}

rabbit_configure() {
  local dir=$STATE/rabbitmq
  mkdir -p "$dir/home" "$dir/mnesia" "$dir/generated" "$dir/schema"
  : > "$dir/rabbitmq-env.conf"
  echo '[rabbitmq_management,rabbitmq_prometheus].' > "$dir/enabled_plugins"
  # The consumer time-out must exceed prefetch x the longest study; the default half hour is near that.
  private_file "$dir/rabbitmq.conf" <<CONF
# Written by scripts/servers/rabbitmq.sh at each start.
listeners.tcp.default = 127.0.0.1:$AMQP_PORT
management.tcp.ip = 127.0.0.1
management.tcp.port = $AMQP_HTTP_PORT
prometheus.tcp.ip = 127.0.0.1
prometheus.tcp.port = $AMQP_METRICS_PORT
default_user = scargate
default_pass = $(secret rabbitmq)
loopback_users = none
consumer_timeout = 7200000
log.console = false
log.file.level = warning
disk_free_limit.absolute = 200MB
vm_memory_high_watermark.absolute = 1GB
CONF
}

rabbit_api() { curl -fsS -m 5 -u "scargate:$(secret rabbitmq)" "http://127.0.0.1:$AMQP_HTTP_PORT/api/$1"; }
rabbit_ready() { port_taken "$AMQP_PORT" && rabbit_api overview; }

rabbitmq_up() {
  if alive rabbitmq; then say rabbitmq "already runs on 127.0.0.1:$AMQP_PORT"; return; fi
  port_taken "$AMQP_PORT" && die rabbitmq "port $AMQP_PORT is taken by another program; set SCARGATE_PORT_BASE to a free block"
  rabbit_configure
  local sbin log=$STATE/log/rabbitmq-start.log
  sbin=$(rabbit_sbin)
  say rabbitmq "starting (about 8 s)"
  (rabbit_environment; cd "$STATE/rabbitmq"; background rabbitmq "$log" "$sbin/rabbitmq-server")
  wait_for rabbitmq 90 "$log" rabbit_ready
  # From here the Erlang VM itself is watched: a signal to the script around it would not crash the node,
  # and asks for a slow stop.
  remember_pid rabbitmq "$(cat "$STATE/rabbitmq/node.pid")"
  say rabbitmq "runs on 127.0.0.1:$AMQP_PORT, management on http://127.0.0.1:$AMQP_HTTP_PORT"
}

# The node shuts down cleanly on TERM. epmd is a daemon of its own and outlives it: asked by its port.
rabbitmq_down() {
  stop_process rabbitmq TERM 40
  if have epmd; then epmd -port "$AMQP_EPMD_PORT" -kill >/dev/null 2>&1 || true; fi
}
