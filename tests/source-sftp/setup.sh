# shellcheck shell=bash
# The files of tests/files on a private SFTP server, plain and compressed.

put_elements "$TEMP_DIR/files/in"
serve_python "$case_dir/server.py" "$TEMP_DIR/files"

CONNECTOR_CONFIG='{"address":"'"$address"'","directory":"/in",
  "credentials":{"type":"password","username":"tunnel","password":"correct horse battery staple"}}'
export CONNECTOR_CONFIG
export RESOURCE='{"stream":"/in/"}'
export TEST_STREAM="in"
export ID_TYPE="integer"
