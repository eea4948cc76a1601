# shellcheck shell=bash
# The files of tests/files on a private SFTP server, plain and compressed.

mkdir -p "$TEMP_DIR/files/in"
python3 -m zipfile -c "$TEMP_DIR/files/in/a.csv.zip" "$root/tests/files/a.csv"
cp "$root/tests/files/b.csv" "$root/tests/files/d.jsonl" "$TEMP_DIR/files/in"
gzip -c "$root/tests/files/c.csv" >"$TEMP_DIR/files/in/c.csv.gz"

"$(dirname "$(command -v flow-local)")/python3" -u "$case_dir/server.py" "$TEMP_DIR/files" \
  >"$TEMP_DIR/address" 2>"$TEMP_DIR/server.log" &
export SERVER_PID=$!
for _ in $(seq 300); do
  [ -s "$TEMP_DIR/address" ] && break
  kill -0 "$SERVER_PID" 2>/dev/null || break
  sleep 0.1
done
address="$(cat "$TEMP_DIR/address")"
[ -n "$address" ] || { cat "$TEMP_DIR/server.log" >&2; return 1; }

CONNECTOR_CONFIG='{"address":"'"$address"'","directory":"/in",
  "credentials":{"type":"password","username":"tunnel","password":"correct horse battery staple"}}'
export CONNECTOR_CONFIG
export RESOURCE='{"stream":"/in/"}'
export TEST_STREAM="in"
export ID_TYPE="integer"
