# shellcheck shell=bash
# A private service; a connector that runs in a container finds it at the same address.

serve_python "$case_dir/server.py"
export ADDRESS="${address%,*}"

config="\"project_id\":\"acme\",\"region\":\"US\",\"dataset\":\"flow_tests\",\
\"credentials\":{\"auth_type\":\"GCPAnonymous\"},\"advanced\":{\"api_endpoint\":\"$ADDRESS\",\
\"storage_endpoint\":\"${address#*,}\"}"
export CONNECTOR_CONFIG="{$config}"
export HARD_DELETE_CONFIG="{$config,\"hardDelete\":true}"
export RESOURCE='{"table":"TABLE"}'
export DELTA_RESOURCE='{"table":"TABLE","delta_updates":true}'
