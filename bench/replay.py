"""Connectors that cost next to nothing, to time the runtime between them.

    python replay.py source FILE      answers as a capture; its documents are the lines of FILE
    python replay.py sink             answers as a materialization that stores nothing

Plain Python without the kit: what is measured is the runtime, and what they say is fixed.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

BLOCK = 1 << 20
PROTOCOL = 3032023


def say(message: dict[str, object]) -> None:
    """Write one message."""
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
    sys.stdout.buffer.flush()


def described(path: list[str]) -> dict[str, object]:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    return {
        "spec": {
            "protocol": PROTOCOL,
            "configSchema": schema,
            "resourceConfigSchema": schema,
            "documentationUrl": "https://example.test",
            "resourcePathPointers": path,
        }
    }


def source(path: str) -> None:
    """Capture every line of a file of `captured` messages, with one checkpoint at the end."""
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if "spec" in request:
            say(described(["/name"]))
        elif "validate" in request:
            bindings = request["validate"]["bindings"]
            paths = [{"resourcePath": [b["resourceConfig"]["name"]]} for b in bindings]
            say({"validated": {"bindings": paths}})
        elif "apply" in request:
            say({"applied": {}})
        elif "open" in request:
            say({"opened": {}})
            with Path(path).open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer, BLOCK)
            say({"checkpoint": {"state": {"updated": {"done": True}}}})
            return


def lines() -> Iterator[tuple[bytes, int]]:
    """Yield each line that isn't a store or a load, with the number of those before it."""
    rest, skipped = b"", 0
    while block := os.read(0, BLOCK):
        block = rest + block
        *whole, rest = block.split(b"\n")
        for line in whole:
            if line.startswith((b'{"store"', b'{"load"')):
                skipped += 1
            elif line:
                yield line, skipped
                skipped = 0


def sink() -> None:
    """Take every store; load nothing."""
    for line, _ in lines():
        request = json.loads(line)
        if "spec" in request:
            say(described([]))
        elif "validate" in request:
            say(
                {"validated": {"bindings": [validated(b) for b in request["validate"]["bindings"]]}}
            )
        elif "apply" in request:
            say({"applied": {}})
        elif "open" in request:
            say({"opened": {}})
        elif "acknowledge" in request:
            say({"acknowledged": {}})
        elif "flush" in request:
            say({"flushed": {}})
        elif "startCommit" in request:
            say({"startedCommit": {}})


def validated(binding: dict[str, dict[str, object]]) -> dict[str, object]:
    """Take every field of a binding."""
    projections = binding["collection"]["projections"]
    assert isinstance(projections, list)
    return {
        "resourcePath": [binding["resourceConfig"]["name"]],
        "projectionConstraints": [
            {"field": p["field"], "constraint": {"type": "FIELD_OPTIONAL"}} for p in projections
        ],
    }


if __name__ == "__main__":
    if sys.argv[1] == "source":
        source(sys.argv[2])
    else:
        sink()
