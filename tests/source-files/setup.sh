# shellcheck shell=bash
# The files of tests/files in a directory, plain and compressed.

mkdir "$TEMP_DIR/data"
python3 -m zipfile -c "$TEMP_DIR/data/a.csv.zip" "$root/tests/files/a.csv"
cp "$root/tests/files/b.csv" "$root/tests/files/d.jsonl" "$TEMP_DIR/data"
gzip -c "$root/tests/files/c.csv" >"$TEMP_DIR/data/c.csv.gz"

CONNECTOR_CONFIG='{"directory":"'"$TEMP_DIR"'/data"}'
export CONNECTOR_CONFIG
export RESOURCE='{"stream":"data/"}'
export TEST_STREAM="data"
export ID_TYPE="integer"
