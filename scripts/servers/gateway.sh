# The gateway's configuration for this set of servers: dev.toml, an overlay on config/default.toml, and the
# secret files it names. Written at each start, because ports may move. Sourced by servers.sh.

gateway_configure() {
  local role
  private_folder "$SECRETS"
  for role in owner app auditor; do
    printf 'postgres://scargate_%s:%s@127.0.0.1:%s/scargate' "$role" "$(secret "pg-$role")" "$PG_PORT" | private_file "$SECRETS/url-pg-$role"
  done
  printf 'amqp://scargate:%s@127.0.0.1:%s/%%2f' "$(secret rabbitmq)" "$AMQP_PORT" | private_file "$SECRETS/url-amqp"
  [ -s "$SECRETS/pseudonym-key" ] || head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' | private_file "$SECRETS/pseudonym-key"
  secret webhook-token >/dev/null
  secret orthanc >/dev/null
  cat > "$STATE/dev.toml" <<TOML
# Written by scripts/servers.sh: scargate against the private servers of $STATE.
# For demonstrations and development: results leave at once, studies settle within seconds.

[server]
port = $GATEWAY_PORT

[database]
url = "file:$SECRETS/url-pg-app"
owner_url = "file:$SECRETS/url-pg-owner"

[broker]
url = "file:$SECRETS/url-amqp"

[pacs]
url = "http://127.0.0.1:$PACS_PORT/dicom-web"
auth = "basic"
username = "scargate"
password = "file:$SECRETS/orthanc"

[intake]
poll_interval_secs = 5
quiet_secs = 3
webhook_token = "file:$SECRETS/webhook-token"

[infer]
models = "$ROOT/models"
library = "$TOOLS/onnxruntime/libonnxruntime.so"

[spool]
directory = "$STATE/spool"

[ehr]
url = "http://127.0.0.1:$EHR_PORT/fhir"
mode = "on"
release = "on-analysis"
auth = "smart"
client_id = "scargate"
private_key = "file:$SECRETS/ehr-client-es384.pem"
key_id = "scargate-es384"
algorithm = "ES384"
patient_system = "urn:scargate:demo:patient"
accession_system = "urn:scargate:demo:accession"

[audit]
pseudonym_key = "file:$SECRETS/pseudonym-key"
checkpoint_key = "file:$SECRETS/audit-signing.pem"
checkpoint_directory = "$STATE/checkpoints"
checkpoint_secs = 30
TOML
}
