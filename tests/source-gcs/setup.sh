# shellcheck shell=bash
# The files of tests/files in a bucket of a private service, in the ways that buckets hold them.

mkdir "$TEMP_DIR/files"
python3 -m zipfile -c "$TEMP_DIR/files/a.csv.zip" "$root/tests/files/a.csv"
cp "$root/tests/files/b.csv" "$root/tests/files/d.jsonl" "$TEMP_DIR/files"
gzip -c "$root/tests/files/c.csv" >"$TEMP_DIR/files/c.csv.gz"

"$(dirname "$(command -v flow-local)")/python3" -u "$case_dir/server.py" "$TEMP_DIR"/files/* \
  >"$TEMP_DIR/address" 2>"$TEMP_DIR/server.log" &
export SERVER_PID=$!
for _ in $(seq 300); do
  [ -s "$TEMP_DIR/address" ] && break
  kill -0 "$SERVER_PID" 2>/dev/null || break
  sleep 0.1
done
address="$(cat "$TEMP_DIR/address")"
[ -n "$address" ] || { cat "$TEMP_DIR/server.log" >&2; return 1; }

CONNECTOR_CONFIG='{"bucket":"files","prefix":"in/","advanced":{"endpoint":"'"$address"'"}}'
export CONNECTOR_CONFIG
export RESOURCE='{"stream":"files/in/"}'
export TEST_STREAM="files/in"
export ID_TYPE="integer"
