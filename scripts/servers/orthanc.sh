# Orthanc with its DICOMweb plugin: the PACS. Sourced by servers.sh.

orthanc_configure() {
  local dir=$STATE/orthanc plugin
  plugin=$(ls /usr/share/orthanc/plugins/libOrthancDicomWeb.so /usr/lib/orthanc/libOrthancDicomWeb.so 2>/dev/null | head -n 1 || true)
  [ -n "$plugin" ] || die orthanc "the DICOMweb plugin is not installed; run scripts/install.sh"
  mkdir -p "$dir/db"
  # Utf8: in the default Latin1 QIDO drops letters from names. Host needs the port, or links lack it.
  private_file "$dir/orthanc.json" <<JSON
{ "Name": "SCARGATE-PACS", "StorageDirectory": "$dir/db", "IndexDirectory": "$dir/db",
  "HttpPort": $PACS_PORT, "DicomServerEnabled": false,
  "RemoteAccessAllowed": false, "AuthenticationEnabled": true, "RegisteredUsers": { "scargate": "$(secret orthanc)" },
  "StableAge": 2, "DefaultEncoding": "Utf8", "OverwriteInstances": true, "HttpTimeout": 10,
  "SyncStorageArea": true, "Plugins": ["$plugin"], "LuaScripts": ["$dir/hook.lua"],
  "DicomWeb": { "Enable": true, "Root": "/dicom-web/", "EnableWado": true, "WadoRoot": "/wado",
    "Host": "127.0.0.1:$PACS_PORT", "Ssl": false, "StudiesMetadata": "Full", "SeriesMetadata": "Full",
    "EnableMetadataCache": true, "QidoCaseSensitive": true } }
JSON
  # Tells the gateway that a study got no new instance for StableAge seconds. The address is read at each
  # call, so that a test can point it elsewhere. Nothing is retried: the gateway's poll finds what is lost.
  [ -f "$dir/webhook-url" ] || echo "http://127.0.0.1:$GATEWAY_PORT${SCARGATE_WEBHOOK_PATH:-/hooks/pacs}" > "$dir/webhook-url"
  private_file "$dir/hook.lua" <<LUA
function OnStableStudy(studyId, tags, metadata, origin)
  local file = io.open('$dir/webhook-url', 'r')
  if not file then return end
  local url = file:read('*l')
  file:close()
  if not url or url == '' then return end
  local body = { event = 'StableStudy', studyInstanceUid = tags['StudyInstanceUID'] }
  local headers = { ['Content-Type'] = 'application/json', ['X-Webhook-Token'] = '$(secret webhook-token)' }
  local ok = pcall(function() return HttpPost(url, DumpJson(body, true), headers) end)
  if not ok then print('the webhook was not answered') end
end
LUA
}

orthanc_ready() { curl -fsS -m 3 -u "scargate:$(secret orthanc)" "http://127.0.0.1:$PACS_PORT/dicom-web/studies?limit=1"; }

# Orthanc 1.10 listens on every address and only refuses others per request: a preloaded bind() ties it to loopback.
orthanc_loopback() {
  local source=$ROOT/scripts/servers/loopback.c library=$TOOLS/loopback.so
  if [ "$library" -nt "$source" ]; then return; fi
  have cc || die orthanc "no C compiler (cc); run scripts/install.sh"
  mkdir -p "$TOOLS"
  cc -O1 -shared -fPIC -o "$library.$$" "$source" -ldl || die orthanc "could not compile $source"
  mv "$library.$$" "$library"
}

orthanc_up() {
  local binary log=$STATE/log/orthanc.log
  if alive orthanc; then say orthanc "already runs on 127.0.0.1:$PACS_PORT"; return; fi
  binary=$(command -v Orthanc || ls /usr/sbin/Orthanc 2>/dev/null) || die orthanc "Orthanc is not installed; run scripts/install.sh"
  port_taken "$PACS_PORT" && die orthanc "port $PACS_PORT is taken by another program; set SCARGATE_PORT_BASE to a free block"
  orthanc_configure
  orthanc_loopback
  # One file, not a folder: of a folder it would merge every file, Debian's own users among them.
  background orthanc "$log" env LD_PRELOAD="$TOOLS/loopback.so" "$binary" "$STATE/orthanc/orthanc.json"
  wait_for orthanc 30 "$log" orthanc_ready
  say orthanc "runs on 127.0.0.1:$PACS_PORT, DICOMweb at http://127.0.0.1:$PACS_PORT/dicom-web"
}

orthanc_down() { stop_process orthanc TERM 20; }
