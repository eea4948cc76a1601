# shellcheck shell=bash
# The files of tests/files on a server of OpenSSH's, plain and compressed.

put_elements "$TEMP_DIR/files/in"
serve_python "$case_dir/server.py" "$TEMP_DIR/files" "$TEMP_DIR/sshd"

# It tells all that a config needs.
CONNECTOR_CONFIG="$address"
export CONNECTOR_CONFIG
export RESOURCE='{"stream":"'"$TEMP_DIR"'/files/in/"}'
export TEST_STREAM="${TEMP_DIR#/}/files/in"
export ID_TYPE="integer"
