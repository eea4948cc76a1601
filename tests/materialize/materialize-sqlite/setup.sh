# shellcheck shell=bash
# A database file; a connector that runs in a container finds it at the same place.

mkdir -m 777 "$TEMP_DIR/databases"
chmod 755 "$TEMP_DIR"
export DATABASE="$TEMP_DIR/databases/tests.db"
export FLOW_CONTAINER_RUN_OPTIONS="--volume $TEMP_DIR/databases:$TEMP_DIR/databases"
export CONNECTOR_CONFIG="{\"path\":\"$DATABASE\"}"
export HARD_DELETE_CONFIG="{\"path\":\"$DATABASE\",\"hardDelete\":true}"
export RESOURCE='{"table":"TABLE"}'
export DELTA_RESOURCE='{"table":"TABLE","delta_updates":true}'
