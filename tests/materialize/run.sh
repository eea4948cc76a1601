#!/usr/bin/env bash
# Feeds fixture.jsonl to a materialization and compares what it did and made with its snapshot.txt.
# CONNECTOR=materialize-sqlite tests/materialize/run.sh    (see README.md above)
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
here="$root/tests/materialize"
begin "${CASES:-$here}"

# Tables and task have names of their own, as destinations outlive the run.
export COLLECTIONS="$here/collections.flow.yaml" ENDPOINT BINDINGS TABLES SUFFIX=""
SUFFIX="_$(printf '%04x%04x' $RANDOM $RANDOM)_flow_test_$(date +%s)"
. "$case_dir/setup.sh"

# The bindings of one task: `table collection` lines; TABLE in the resource is the table's name.
bindings() {
  python3 -c 'if True:
    import json, os, sys
    bindings = []
    for line in sys.stdin:
        table, collection, *delta = line.split()
        resource = os.environ["DELTA_RESOURCE" if delta else "RESOURCE"]
        resource = resource.replace("TABLE", table + os.environ["SUFFIX"])
        # Objects are columns where somebody wants them.
        wanted = {"object": {}, "nested": {}} if table == "every_type" else {}
        fields = {"recommended": True, "require": wanted}
        bindings.append({"resource": json.loads(resource), "source": collection, "fields": fields})
    print(json.dumps(bindings))'
}

# materialize NAME CONFIG TABLES: run one task and write its part of the snapshot.
materialize() {
  local table
  ENDPOINT="$(endpoint "$2")"
  BINDINGS="$(bindings <<<"$3")"
  expand "$here/template.flow.yaml" >"$TEMP_DIR/flow.yaml"
  echo "previewing ($1) ..."
  interruptibly flow-local preview --source "$TEMP_DIR/flow.yaml" --fixture "$here/fixture.jsonl" \
    --output-apply --output-state --log-level "${LOG_LEVEL:-warn}" >"$TEMP_DIR/preview.txt"
  {
    printf '# %s\n\n' "$1"
    cat "$TEMP_DIR/preview.txt"
    for table in $(cut -d' ' -f1 <<<"$3"); do
      printf '\n## %s\n\n' "$table"
      python3 "$case_dir/show.py" "$table$SUFFIX"
    done
    echo
  } >>"$TEMP_DIR/actual.txt"
}

tables="simple tests/simple
hostile_names tests/hostile-names
every_type tests/every-type"
: >"$TEMP_DIR/actual.txt"
materialize "by default" "$CONNECTOR_CONFIG" \
  "$tables${DELTA_RESOURCE:+$'\n'simple_delta tests/simple delta}"
if [ -n "${HARD_DELETE_CONFIG:-}" ]; then
  SUFFIX="_h$SUFFIX"
  materialize "deleting rows" "$HARD_DELETE_CONFIG" "$tables"
fi

# What differs from run to run isn't part of the snapshot.
sed -e "s/_h_[0-9A-Fa-f]\{8\}_flow_test_[0-9]*//gI" -e "s/_[0-9a-f]\{8\}_flow_test_[0-9]*//gI" \
  -e "s#$TEMP_DIR#TEMP_DIR#g" -e "${VARYING:-}" "$TEMP_DIR/actual.txt" >"$TEMP_DIR/snapshot.txt"
if [ "${UPDATE_SNAPSHOTS:-}" = true ]; then
  cp "$TEMP_DIR/snapshot.txt" "$case_dir/snapshot.txt"
  echo "$CONNECTOR ($VERSION): wrote $case_dir/snapshot.txt"
elif ! diff -u "$case_dir/snapshot.txt" "$TEMP_DIR/snapshot.txt"; then
  echo "can't accept $CONNECTOR: what it did and made (+) isn't what snapshot.txt says (-);" \
    "if that is how it should be, run again with UPDATE_SNAPSHOTS=true" >&2
  exit 1
else
  echo "$CONNECTOR ($VERSION): actions, columns and rows are as expected"
fi
