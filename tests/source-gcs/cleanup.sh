# shellcheck shell=bash
# Stops the server, if it was started.
[ -z "${SERVER_PID:-}" ] || kill "$SERVER_PID" 2>/dev/null || true
