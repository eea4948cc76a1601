"""A materialization connector for tests: appends documents to the file of its config's `path`.

Delta updates, at least once. The field `secret` is forbidden. Requests to validate and apply go to
the file of the config's `trace`, if there is one.
"""

import sys
from pathlib import Path

import msgspec
from msgspec import Raw


def say(**message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def constraint(projection):
    if projection["field"] == "secret":
        return {"type": "FIELD_FORBIDDEN", "reason": "secrets aren't stored"}
    if projection["field"] == "flow_document":
        return {"type": "LOCATION_REQUIRED", "reason": "the document is stored"}
    return {"type": "LOCATION_RECOMMENDED", "reason": "a fine field"}


def validated(binding):
    projections = binding["collection"]["projections"]
    return {
        "resourcePath": [binding["resourceConfig"]["table"]],
        "constraints": {each["field"]: constraint(each) for each in projections},
        "deltaUpdates": True,
    }


path, documents = Path(), []
for line in sys.stdin.buffer:
    [(kind, raw)] = msgspec.json.decode(line, type=dict[str, Raw]).items()
    body = msgspec.json.decode(raw)
    if trace := {**body, **body.get("materialization", {})}.get("config", {}).get("trace"):
        with Path(trace).open("ab") as file:
            file.write(line if kind in {"validate", "apply"} else b"")
    if kind == "spec":
        schema = {"type": "object"}
        say(spec={"protocol": 3032023, "configSchema": schema, "resourceConfigSchema": schema})
    elif kind == "validate":
        say(validated={"bindings": [validated(binding) for binding in body.get("bindings", [])]})
    elif kind == "apply":
        say(applied={})
    elif kind == "open":
        path = Path(body["materialization"]["config"]["path"])
        say(opened={})
    elif kind == "acknowledge":
        say(acknowledged={})
    elif kind == "flush":
        say(flushed={})
    elif kind == "store":
        documents.append(msgspec.json.decode(raw, type=dict[str, Raw])["doc"])
    elif kind == "startCommit":
        with path.open("ab") as file:
            file.write(b"".join(bytes(document) + b"\n" for document in documents))
        documents = []
        say(startedCommit={})
