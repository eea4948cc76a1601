# shellcheck shell=bash
# The files of tests/files in the ways that servers hold them, on a loopback port.

put_elements "$TEMP_DIR/files"
serve python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$TEMP_DIR/files"
port="$(sed -n 's/.* port \([0-9]*\) .*/\1/p' <<<"$address")"

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
