# shellcheck shell=bash
# The files of tests/files in a directory, plain and compressed.

put_elements "$TEMP_DIR/data"

CONNECTOR_CONFIG='{"directory":"'"$TEMP_DIR"'/data"}'
export CONNECTOR_CONFIG
export RESOURCE='{"stream":"data/"}'
export TEST_STREAM="data"
export ID_TYPE="integer"
