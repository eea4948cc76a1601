#!/usr/bin/env bash
# Runs a capture connector end to end: what it captures must become the expected rows of SQLite.
# CONNECTOR=source-http tests/run.sh    (see README.md beside)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
begin "${CASES:-$root/tests}"

. "$case_dir/setup.sh"
export ID_TYPE="${ID_TYPE:-integer}" DATABASE="$TEMP_DIR/results.db" ENDPOINT BINDINGS
ENDPOINT="$(endpoint "$CONNECTOR_CONFIG")"
BINDINGS="$(python3 -c 'if True:
  import json, os
  resources = json.loads(os.environ["RESOURCE"])
  resources = resources if isinstance(resources, list) else [resources]
  target = "tests/" + os.environ["CONNECTOR"] + "/results"
  print(json.dumps([{"resource": each, "target": target} for each in resources]))')"
expand "$root/tests/template.flow.yaml" >"$TEMP_DIR/flow.yaml"
cd "$TEMP_DIR"
capture="tests/$CONNECTOR/capture"

echo "spec of $CONNECTOR ($VERSION) ..."
interruptibly flow-local spec --name "$capture" >spec.json
python3 -c 'if True:
  import json
  assert json.load(open("spec.json"))["protocol"] == 3032023'

if [ -n "${TEST_STREAM:-}" ]; then
  echo "discovering $TEST_STREAM ..."
  interruptibly flow-local discover --json --name "$capture" >discovered.jsonl
  python3 -c 'if True:
    import json, os, pathlib, sys
    stream, expected = os.environ["TEST_STREAM"], pathlib.Path(sys.argv[1])
    bindings = [json.loads(line) for line in open("discovered.jsonl")]
    found = [each for each in bindings if each["recommendedName"] == stream]
    names = ", ".join(each["recommendedName"] for each in bindings)
    if not found:
        sys.exit(f"stream {stream!r} is not discovered; these are: {names}")
    if expected.exists() and json.loads(expected.read_text()) != found[0]["documentSchema"]:
        print(json.dumps(found[0]["documentSchema"], indent=2))
        sys.exit(f"stream {stream!r} has the schema above, not that of {expected.name}")
  ' "$case_dir/bindings.json"
fi

echo "running ..."
interruptibly flow-local run --until-idle --timeout "${TIMEOUT:-120}" --log-level "${LOG_LEVEL:-warn}"

python3 -c 'if True:
  import os, sqlite3
  select = "select id, canary from test_results order by id, canary"
  print("id|canary")
  for row in sqlite3.connect(os.environ["DATABASE"]).execute(select):
      print(*row, sep="|")' >actual.txt
if ! diff -u "$case_dir/expected.txt" actual.txt; then
  echo "can't accept $CONNECTOR: its rows (+) aren't those of expected.txt (-)" >&2
  exit 1
fi
echo "$CONNECTOR ($VERSION): all $(($(wc -l <actual.txt) - 1)) rows are as expected"
