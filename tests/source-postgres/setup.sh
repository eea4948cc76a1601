# shellcheck shell=bash
# A private server with rows, and with changes to them while they are captured.

"$(dirname "$(command -v flow-local)")/python3" "$case_dir/server.py" \
  >"$TEMP_DIR/address" 2>"$TEMP_DIR/server.log" &
export SERVER_PID=$!
for _ in $(seq 300); do
  [ -s "$TEMP_DIR/address" ] && break
  kill -0 "$SERVER_PID" 2>/dev/null || break
  sleep 0.1
done
address="$(cat "$TEMP_DIR/address")"
[ -n "$address" ] || { cat "$TEMP_DIR/server.log" >&2; return 1; }

export CONNECTOR_CONFIG="{\"address\":\"$address\",\"database\":\"postgres\",\"user\":\"postgres\",\
\"credentials\":{\"auth_type\":\"UserPassword\",\"password\":\"any\"},\
\"discoveryFilters\":{\"discover_unpublished_tables\":true},\
\"advanced\":{\"backfill_chunk_size\":3}}"
export RESOURCE='[{"namespace":"public","stream":"elements"},
  {"namespace":"public","stream":"Odd \"name\" é","mode":"Normal"},
  {"namespace":"public","stream":"leaves"}]'
export TEST_STREAM="public/leaves"
export ID_TYPE="integer"
