# shellcheck shell=bash
# A private server; a connector that runs in a container finds it at the same address.

serve_python "$case_dir/server.py"
export ADDRESS="$address"

config="\"address\":\"$address\",\"database\":\"postgres\",\"user\":\"postgres\",\
\"credentials\":{\"auth_type\":\"UserPassword\",\"password\":\"any\"}"
export CONNECTOR_CONFIG="{$config}"
export HARD_DELETE_CONFIG="{$config,\"hardDelete\":true}"
export RESOURCE='{"table":"TABLE"}'
export DELTA_RESOURCE='{"table":"TABLE","delta_updates":true}'
