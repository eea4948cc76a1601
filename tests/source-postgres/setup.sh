# shellcheck shell=bash
# A private server with rows, and with changes to them while they are captured.

serve_python "$case_dir/server.py"

export CONNECTOR_CONFIG="{\"address\":\"$address\",\"database\":\"postgres\",\"user\":\"postgres\",\
\"credentials\":{\"auth_type\":\"UserPassword\",\"password\":\"any\"},\
\"discoveryFilters\":{\"discover_unpublished_tables\":true},\
\"advanced\":{\"backfill_chunk_size\":3}}"
export RESOURCE='[{"namespace":"public","stream":"elements"},
  {"namespace":"public","stream":"Odd \"name\" é","mode":"Normal"},
  {"namespace":"public","stream":"leaves"}]'
export TEST_STREAM="public/leaves"
export ID_TYPE="integer"
