# The EHR: sekmet, a FHIR R4 server that validates strictly, file-backed, with SMART Backend Services
# (private_key_jwt) for the gateway and Basic for the scripts that seed it. Sourced by servers.sh.

ehr_configure() {
  local dir=$STATE/ehr python
  python=$(venv_python)
  mkdir -p "$dir"
  private_folder "$SECRETS"
  "$python" "$ROOT/scripts/make_keys.py" "$SECRETS"
  private_file "$dir/settings.yaml" <<YAML
# Written by scripts/servers/ehr.sh at each start. base_url goes into every link: it is what clients call.
base_url: http://127.0.0.1:$EHR_PORT/fhir
host: 127.0.0.1
port: $EHR_PORT
db_path: $dir/ehr.db
data_dir: $dir
own_private_key_path: $dir/none.pem
facility_name: Scargate demonstration hospital
simulator: {enabled: false}
validation: {inbound: strict}
server_auth:
  types: [smart, basic]
  users: {scargate-seed: "$(secret ehr-seed)"}
  token_lifetime: 300
  smart_clients:
    - client_id: scargate
      scopes: "system/*.cruds"
      jwks: $(cat "$SECRETS/ehr-client-jwks.json")
YAML
}

ehr_ready() { curl -fsS -m 5 -u "scargate-seed:$(secret ehr-seed)" "http://127.0.0.1:$EHR_PORT/fhir/metadata"; }

ehr_up() {
  local log=$STATE/log/ehr.log
  if alive ehr; then say ehr "already runs on 127.0.0.1:$EHR_PORT"; return; fi
  port_taken "$EHR_PORT" && die ehr "port $EHR_PORT is taken by another program; set SCARGATE_PORT_BASE to a free block"
  ehr_configure
  pushd "$STATE/ehr" >/dev/null
  background ehr "$log" "$TOOLS/venv/bin/sekmet" serve -c "$STATE/ehr/settings.yaml"
  popd >/dev/null
  wait_for ehr 60 "$log" ehr_ready
  say ehr "runs on 127.0.0.1:$EHR_PORT, FHIR at http://127.0.0.1:$EHR_PORT/fhir"
}

ehr_down() { stop_process ehr TERM 15; }
