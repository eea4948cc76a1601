"""A connector by somebody else: plain Python, no kit, and odd wherever the protocol lets it be.

It speaks snake_case, leaves defaults out or says null, sends enums as integers and big numbers as
strings, reads packed keys and values alone, chats on stderr, ends slowly, ignores SIGTERM, and
doesn't expect the end after a commit. Its argument says what it is: capture, which sends the
config's `documents`, or counts to its `count`; or materialize, which keeps documents by key in the
file of the config's `path`.
"""

import base64
import json
import os
import signal
import sys
import time
from pathlib import Path

SLOW_S = 0.6
LOCATION_REQUIRED, LOCATION_RECOMMENDED = 2, 3  # enums are integers here
ODD = {"type": "object", "additionalProperties": True, "x-odd": None}
THINGS = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


def say(kind, **fields):
    nulls = {"spec": None, "applied": None, "unknown": {"x": [1, 2]}, "$internal": "b2Rk"}
    nulls.pop(kind, None)
    sys.stdout.write(json.dumps({**nulls, kind: {**fields, "no_such_field": 1}}, indent=None))
    sys.stdout.write(" \r\n\n")
    sys.stdout.flush()


def chat():
    print("Traceback-like chatter (not an error at all):", file=sys.stderr)
    print('  in line 7\n\n    {"level": not JSON', file=sys.stderr, flush=True)
    os.write(2, b'\xff\xfe\x00 bytes of no encoding\r\n{"lvl":"WARNING","msg":null,"fields":7}\n')


def unpacked(text):
    packed, at, values = base64.b64decode(text), 0, []
    while at < len(packed):
        code, at = packed[at], at + 1
        if code == 0x02:
            end = packed.index(0, at)
            values.append(packed[at:end].decode())
            at = end + 1
        elif 0x0C <= code <= 0x1C:
            size = abs(code - 0x14)
            number = int.from_bytes(packed[at : at + size], "big")
            values.append(number if code >= 0x14 else number - (1 << 8 * size) + 1)
            at += size
        elif code == 0x21:
            bits = int.from_bytes(packed[at : at + 8], "big")
            values.append(f"double {bits:x}")
            at += 8
        else:
            values.append({0x00: None, 0x26: False, 0x27: True}[code])
    return values


def capture(config, state):
    say("opened", explicit_acknowledgements="count" in config or None)
    if config.get("fails"):
        raise PermissionError(config["fails"])
    if "count" in config:
        count(config["count"], state.get("at", 0))
        return
    properties = {"id": {"type": "integer"}, "name": {"type": "string"}, "sum": {"type": "integer"}}
    closed = {"type": "object", "properties": properties, "additionalProperties": False}
    say("sourced_schema", schema_json=closed)
    for document in config["documents"][state.get("sent", 0) :]:
        say("captured", doc=document)
    state = {"updated": {"sent": len(config["documents"])}, "merge_patch": None}
    say("checkpoint", state=state)
    while config.get("stays"):
        time.sleep(0.1)


def count(last, at):
    for number in range(at + 1, last + 1):
        say("captured", doc={"name": f"number {number}", "id": number, "size": 1.0})
        say("captured", doc={"name": "", "id": 0})
        say("checkpoint", state={"updated": {"at": number}, "merge_patch": True})
        print(f"  ... sent {number}", file=sys.stderr, flush=True)
        sys.stdin.readline()


def materialize(config, _state):
    path, existed, kind = Path(config["path"]), [], ""
    kept = json.loads(path.read_text()) if path.exists() else {"checkpoint": {}, "rows": {}}
    rows = kept["rows"]
    say("opened", runtime_checkpoint=kept["checkpoint"])
    for line in sys.stdin:
        [(kind, body)] = json.loads(line).items()
        if kind == "acknowledge":
            say("acknowledged", state=None)
        elif kind == "load" and (row := rows.get(body["keyPacked"])):
            say("loaded", binding=body.get("binding", 0), doc=row["doc"])
        elif kind == "flush":
            say("flushed")
        elif kind == "store":
            key, values = unpacked(body["keyPacked"]), unpacked(body["valuesPacked"])
            existed.append(bool(body.get("exists")))
            rows[body["keyPacked"]] = {
                "key": key,
                "values": values,
                "existed": existed[-1],
                "doc": body["doc"],
            }
        elif kind == "startCommit":
            path.write_text(json.dumps({"checkpoint": body["runtimeCheckpoint"], "rows": rows}))
            say("started_commit", state={"updated": {"existed": existed}, "mergePatch": True})
            existed = []
    if kind == "startCommit":
        sys.exit("I didn't expect the end here!")


def constraint(projection):
    required = projection["field"] == "flow_document" or projection.get("isPrimaryKey")
    return {"type": LOCATION_REQUIRED if required else LOCATION_RECOMMENDED, "reason": None}


def validated(binding):
    answer = {"resource_path": [binding["resourceConfig"]["name"]]}
    if sys.argv[1] == "materialize":
        projections = binding["collection"]["projections"]
        answer["constraints"] = {each["field"]: constraint(each) for each in projections}
        answer["ser_policy"] = answer["delta_updates"] = None
    return answer


signal.signal(signal.SIGTERM, signal.SIG_IGN)
chat()
for line in sys.stdin:
    [(kind, body)] = json.loads(line).items()
    if kind == "spec":
        pointers = {"resource_path_pointers": ["/name"]} if sys.argv[1] == "capture" else {}
        schemas = {"config_schema_json": ODD, "resource_config_schema_json": ODD}
        say("spec", protocol="3032023", documentation_url=None, oauth2=None, **schemas, **pointers)
    elif kind == "discover":
        found = {"resource_config_json": {"name": "things"}, "document_schema_json": THINGS}
        say("discovered", bindings=[{"recommended_name": "things", **found, "key": ["/id"]}])
    elif kind == "validate":
        say("validated", bindings=[validated(each) for each in body.get("bindings", [])])
    elif kind == "apply":
        last = body.get("lastMaterialization") or body.get("lastCapture")
        say("applied", action_description=None if last else 'made "it"\n\tréady\x1b', state=None)
        time.sleep(SLOW_S)
    elif kind == "open":
        task = body.get("capture") or body["materialization"]
        kinds = {"capture": capture, "materialize": materialize}
        kinds[sys.argv[1]](task["config"], body.get("state") or {})
        chat()
        time.sleep(SLOW_S)
        break
