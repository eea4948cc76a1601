# shellcheck shell=bash
# Sourced by the integration runs beside it: checks what they are called with, finds their tools, and
# cleans up after them however they end.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VERSION="${VERSION:-dev}"
child=""
server=""
case_dir=""

# begin DIRECTORY: choose the case of CONNECTOR in DIRECTORY, and make TEMP_DIR.
begin() {
  case_dir="$(cd "$1" && pwd)/${CONNECTOR:-}"
  if [ -z "${CONNECTOR:-}" ] || [ ! -f "$case_dir/setup.sh" ]; then
    echo "can't test connector '${CONNECTOR:-}': there is no $case_dir/setup.sh" \
      "(usage: CONNECTOR=source-http tests/run.sh)" >&2
    exit 2
  fi
  trap 'exit 130' INT
  trap 'exit 143' TERM
  trap _end EXIT
  TEMP_DIR="$(mktemp -d)"
  export CONNECTOR VERSION TEMP_DIR
  if ! command -v flow-local >/dev/null; then
    cd "$root"
    . bin/environment
    ensure_environment run
    export PATH="$root/$VENV/bin:$PATH"
  fi
  cd "$case_dir"
}

_end() {
  local status=$?
  trap '' INT TERM
  set +e
  if [ -n "$child" ]; then
    kill "$child" 2>/dev/null
    wait "$child" 2>/dev/null
  fi
  if [ -f "$case_dir/cleanup.sh" ]; then
    bash "$case_dir/cleanup.sh" || { echo "can't clean up: cleanup.sh failed" >&2; status=1; }
  fi
  if [ -n "$server" ]; then
    kill "$server" 2>/dev/null
    wait "$server" 2>/dev/null
  fi
  rm -rf "$TEMP_DIR"
  exit "$status"
}

# interruptibly COMMAND...: run it, and let Ctrl-C and SIGTERM end it and us at once.
interruptibly() {
  local status=0
  "$@" &
  child=$!
  wait "$child" || status=$?
  child=""
  return "$status"
}

# serve COMMAND...: start a server, which ends with the run; the first line it prints is `address`.
serve() {
  "$@" >"$TEMP_DIR/address" 2>"$TEMP_DIR/server.log" &
  server=$!
  for _ in $(seq 300); do
    [ -s "$TEMP_DIR/address" ] && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
  done
  address="$(cat "$TEMP_DIR/address")"
  [ -n "$address" ] || { cat "$TEMP_DIR/server.log" >&2; return 1; }
}

# serve_python FILE ARGUMENTS...: the same with a program that uses the kit's testing package.
serve_python() { serve "$(dirname "$(command -v flow-local)")/python3" -u "$@"; }

# put_elements DIRECTORY: the files of tests/files, in the ways that stores hold them.
put_elements() {
  mkdir -p "$1"
  python3 -m zipfile -c "$1/a.csv.zip" "$root/tests/files/a.csv"
  cp "$root/tests/files/b.csv" "$root/tests/files/d.jsonl" "$1"
  gzip -c "$root/tests/files/c.csv" >"$1/c.csv.gz"
}

# endpoint CONFIG: the connector as VERSION wants it, as a stanza of a catalog.
endpoint() {
  if [ "$VERSION" = dev ]; then
    printf '{"local":{"command":["%s"],"config":%s}}' "$CONNECTOR" "$1"
  else
    printf '{"connector":{"image":"ghcr.io/estuary/%s:%s","config":%s}}' "$CONNECTOR" "$VERSION" "$1"
  fi
}

# expand FILE: print it with ${NAME} replaced by what the environment has; a name without is an error.
expand() {
  python3 -c 'if True:
    import os, string, sys
    print(string.Template(open(sys.argv[1]).read()).substitute(os.environ), end="")' "$1"
}
