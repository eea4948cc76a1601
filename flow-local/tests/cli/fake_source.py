"""A capture connector for tests, told what to do by its config.

`misbehave` is "exit" or "garbage" at validate, "exit later" or "garbage later" amid the stream.
`documents` are emitted with one checkpoint, once; those of `again` every time; with `endless`, more
and more of them follow; with `quiet`, nothing does until stdin ends. `follow` names a file whose
lines are emitted, each with a checkpoint, as they come; with `once`, those that are there. With
`deaths`, a process is killed as it is asked what `at` says, until `times` of them were.
Its arguments are logged whenever it starts; requests to validate and apply go to the file `trace`.
"""

import os
import signal
import sys
import time
from pathlib import Path

import msgspec

SCHEMA = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}


def say(**message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def fail() -> None:
    print('{"level":"error","message":"can\'t log in: wrong password"}', file=sys.stderr)
    sys.exit(1)


def die_at(kind, deaths) -> None:
    died = Path(deaths["tally"])
    before = died.read_text() if died.exists() else ""
    if kind == deaths["at"] and len(before) < deaths["times"]:
        died.write_text(before + "x")
        os.kill(os.getpid(), signal.SIGKILL)


def follow(config, at) -> None:
    while True:
        lines = Path(config["follow"]).read_text().splitlines()
        for line in lines[at:]:
            say(captured={"doc": msgspec.json.decode(line)})
            at += 1
            say(checkpoint={"state": {"updated": {"at": at}, "mergePatch": True}})
        if config.get("once"):
            return
        time.sleep(0.02)


def stream(config, state) -> None:
    say(opened={})
    if config.get("follow"):
        follow(config, state.get("at", 0))
        return
    for document in config.get("again", []) or ([] if state.get("done") else config["documents"]):
        say(captured={"doc": document})
    if config.get("misbehave") == "exit later":
        fail()
    if config.get("misbehave") == "garbage later":
        print("Hello, world!", flush=True)
        sys.stdin.read()
    say(checkpoint={"state": {"updated": {"done": not config.get("endless")}, "mergePatch": True}})
    if config.get("quiet"):
        sys.stdin.read()
    number = 0
    while config.get("endless"):
        number += 1
        time.sleep(0.005)
        say(captured={"doc": {"id": number}})
        say(checkpoint={"state": {"updated": {"at": number}, "mergePatch": True}})


for sentence in sys.argv[1:]:
    event = {"level": "info", "message": sentence}
    print(msgspec.json.encode(event).decode(), file=sys.stderr, flush=True)
for line in sys.stdin:
    [(kind, body)] = msgspec.json.decode(line).items()
    config = body.get("config") or body.get("capture", {}).get("config", {})
    config = {"documents": [], **config}
    if config.get("deaths"):
        die_at(kind, config["deaths"])
    if kind in {"validate", "apply"} and config.get("trace"):
        with Path(config["trace"]).open("a") as file:
            file.write(line)
    if kind == "spec":
        say(
            spec={
                "protocol": 3032023,
                "configSchema": {"type": "object"},
                "resourceConfigSchema": {"type": "object"},
                "documentationUrl": "https://example.com",
                "resourcePathPointers": ["/name"],
            }
        )
    elif kind == "discover":
        say(
            discovered={
                "bindings": [
                    {
                        "recommendedName": name,
                        "resourceConfig": {"name": name},
                        "documentSchema": SCHEMA,
                        "key": ["/id"],
                    }
                    for name in config.get("resources", ["events"])
                ]
            }
        )
    elif kind == "validate":
        if config.get("misbehave") == "exit":
            fail()
        if config.get("misbehave") == "garbage":
            print("Hello, world!", flush=True)
            continue
        paths = [binding["resourceConfig"]["name"] for binding in body.get("bindings", [])]
        say(validated={"bindings": [{"resourcePath": [path]} for path in paths]})
    elif kind == "apply":
        say(applied={"actionDescription": 'made "things" ready'})
    elif kind == "open":
        stream(config, body.get("state") or {})
        break
