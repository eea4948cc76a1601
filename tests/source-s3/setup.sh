# shellcheck shell=bash
# The files of tests/files in a bucket of a private service, in the ways that buckets hold them.

put_elements "$TEMP_DIR/files"
serve_python "$case_dir/server.py" "$TEMP_DIR"/files/*

CONNECTOR_CONFIG='{"bucket":"files","prefix":"in/","advanced":{"endpoint":"'"$address"'"},
  "credentials":{"auth_type":"AWSAccessKey","aws_access_key_id":"someone","aws_secret_access_key":"secret"}}'
export CONNECTOR_CONFIG
export RESOURCE='{"stream":"files/in/"}'
export TEST_STREAM="files/in"
export ID_TYPE="integer"
