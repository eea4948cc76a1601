# shellcheck shell=bash
# A private server; a connector that runs in a container finds it at the same address.

"$(dirname "$(command -v flow-local)")/python3" "$case_dir/server.py" \
  >"$TEMP_DIR/address" 2>"$TEMP_DIR/server.log" &
export SERVER_PID=$!
for _ in $(seq 300); do
  [ -s "$TEMP_DIR/address" ] && break
  kill -0 "$SERVER_PID" 2>/dev/null || break
  sleep 0.1
done
ADDRESS="$(cat "$TEMP_DIR/address")"
[ -n "$ADDRESS" ] || { cat "$TEMP_DIR/server.log" >&2; return 1; }
export ADDRESS

config="\"address\":\"$ADDRESS\",\"database\":\"postgres\",\"user\":\"postgres\",\
\"credentials\":{\"auth_type\":\"UserPassword\",\"password\":\"any\"}"
export CONNECTOR_CONFIG="{$config}"
export HARD_DELETE_CONFIG="{$config,\"hardDelete\":true}"
export RESOURCE='{"table":"TABLE"}'
export DELTA_RESOURCE='{"table":"TABLE","delta_updates":true}'
