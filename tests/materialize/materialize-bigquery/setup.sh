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
# Names of transactions and of what they stage.
VARYING='s/flow_staged_[0-9a-f]\{8\}_[0-9a-f]\{8\}\(_[0-9a-f_]\{17\}\)_[0-9a-f_]*/flow_staged\1/g
s/flow_[0-9a-f]\{16\}_\([0-9a-f-]\{17\}\)_[0-9a-f]\{12\}_/flow_\1_/g'
