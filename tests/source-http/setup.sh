# shellcheck shell=bash
# The files of tests/files in the ways that servers hold them, on a loopback port.

mkdir "$TEMP_DIR/files"
python3 -m zipfile -c "$TEMP_DIR/files/a.csv.zip" "$root/tests/files/a.csv"
cp "$root/tests/files/b.csv" "$root/tests/files/d.jsonl" "$TEMP_DIR/files"
gzip -c "$root/tests/files/c.csv" >"$TEMP_DIR/files/c.csv.gz"

python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$TEMP_DIR/files" \
  >"$TEMP_DIR/server.log" 2>&1 &
export SERVER_PID=$!
for _ in $(seq 100); do
  port="$(sed -n 's/.* port \([0-9]*\) .*/\1/p' "$TEMP_DIR/server.log")"
  [ -n "$port" ] && break
  sleep 0.1
done
[ -n "$port" ] || { cat "$TEMP_DIR/server.log" >&2; return 1; }

streams=""
resources=""
for file in a.csv.zip b.csv c.csv.gz d.jsonl; do
  streams+="${streams:+,}{\"name\":\"$file\",\"url\":\"http://127.0.0.1:$port/$file\",\"key\":[\"/id\"]}"
  resources+="${resources:+,}{\"stream\":\"$file\"}"
done
export CONNECTOR_CONFIG="{\"streams\":[$streams]}"
export RESOURCE="[$resources]"
export TEST_STREAM="c.csv.gz"
export ID_TYPE="integer"
