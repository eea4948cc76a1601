"""A connector as somebody else might have written it: plain Python, and odd wherever it may be.

It writes snake_case, spaces, nulls and fields that nobody knows, leaves out what is by default,
talks to stderr as it likes, and takes its time to exit. It captures and it materializes.
"""

import json
import sys
import time
from pathlib import Path

SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


def say(kind, **body):
    print(json.dumps({kind: body, "nobody_knows": None}), flush=True)


def load(path):
    file = Path(path)
    return json.loads(file.read_text()) if file.exists() else {"checkpoint": {}, "rows": {}}


def capture(config, state):
    say("opened", explicit_acknowledgements=True)
    for number in range(state.get("at", 0) + 1, 4):
        say("captured", doc={"name": f"number {number}", "id": number, "size": 1.0})
        say("captured", doc={"name": "", "id": 0})
        say("checkpoint", state={"updated": {"at": number}, "merge_patch": True})
        print(f"  ... sent {number}", file=sys.stderr, flush=True)
        sys.stdin.readline()


def constraint(projection):
    kind = "LOCATION_RECOMMENDED" if projection.get("ptr") else "LOCATION_REQUIRED"
    return {"type": kind, "reason": None, "folded_field": None}


store, stored, path = {}, [], ""
print("Hello from odd!\n  this isn't JSON {", file=sys.stderr, flush=True)
for line in sys.stdin:
    [(kind, body)] = json.loads(line).items()
    body = body or {}
    task = body.get("capture") or body.get("materialization") or {}
    config = task.get("config") or body.get("config") or {}
    if kind == "spec":
        schema = {"type": "object"}
        say("spec", config_schema=schema, resource_config_schema=schema, oauth2=None)
    elif kind == "discover":
        binding = {"recommended_name": "things", "resource_config": {"name": "things"}}
        say("discovered", bindings=[{**binding, "document_schema": SCHEMA, "key": ["/id"]}])
    elif kind == "validate":
        bindings = []
        for binding in body.get("bindings", []):
            projections = binding["collection"]["projections"]
            named = {each["field"]: constraint(each) for each in projections}
            name = binding["resourceConfig"]["name"]
            answer = {"resource_path": [name], "delta_updates": False}
            bindings.append(answer | ({} if "capture" in config else {"constraints": named}))
        say("validated", bindings=bindings)
    elif kind == "apply":
        last = body.get("lastMaterialization") or body.get("lastCapture")
        say("applied", action_description="" if last else 'made "it"\n\tréady\x1b', state=None)
    elif kind == "open" and "capture" in body:
        capture(config, body.get("state") or {})
        break
    elif kind == "open":
        path = config["path"]
        store = load(path)
        say("opened", runtime_checkpoint=store["checkpoint"])
    elif kind == "acknowledge":
        say("acknowledged", state=None)
    elif kind == "load":
        key = json.dumps(body["key"])
        if key in store["rows"]:
            say("loaded", binding=body.get("binding", 0), doc=store["rows"][key])
    elif kind == "flush":
        say("flushed")
    elif kind == "store":
        store["rows"][json.dumps(body["key"])] = body["doc"]
        stored.append(bool(body.get("exists")))
    elif kind == "startCommit":
        store["checkpoint"] = body["runtimeCheckpoint"]
        Path(path).write_text(json.dumps(store))
        say("started_commit", state={"updated": {"existed": stored}, "merge_patch": True})
        stored = []
print("slow to go", file=sys.stderr, flush=True)
time.sleep(0.5)
if kind == "startCommit":
    sys.exit("I didn't expect the end here!")
