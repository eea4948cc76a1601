"""A capture connector for tests: does the steps of its config, or counts to a number.

Steps, each an object with one key: `emit` [binding, document...], `raw` a line, `checkpoint` an
update that replaces the state, `patch` one that patches it, `wait` (for so many acknowledgements),
`exit` a status, `die` (by SIGKILL), `hang`, `quiet` (until stdin ends). With `count`, documents
{"id": i % keys, "n": i} are emitted from the state's `at` on, with a checkpoint every `every`. With
`by_range`, the one document is the beginning of the range, and so is what it adds to the state.
"""

import os
import signal
import sys
import time
from pathlib import Path

import msgspec


def say(**message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def record(path, **what) -> None:
    if path:
        with Path(path).open("ab") as file:
            file.write(msgspec.json.encode(what) + b"\n")


def step(name, value) -> None:
    if name == "emit":
        binding, *documents = value
        for document in documents:
            say(captured={"binding": binding, "doc": document})
    elif name == "raw":
        sys.stdout.write(value + "\n")
        sys.stdout.flush()
    elif name == "checkpoint":
        say(checkpoint={"state": {"updated": value}})
    elif name == "patch":
        say(checkpoint={"state": {"updated": value, "mergePatch": True}})
    elif name == "exit":
        print(f'{{"level":"error","message":"told to exit {value}"}}', file=sys.stderr)
        sys.exit(value)
    elif name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif name == "quiet":
        sys.stdin.read()
    elif name == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(1000)


def count(config, state) -> None:
    first, total = state.get("at", 0), config["count"]
    lines = []
    for i in range(first, total):
        lines.append(b'{"captured":{"doc":{"id":%d,"n":%d}}}\n' % (i % config["keys"], i))
        if (i + 1) % config["every"] == 0 or i + 1 == total:
            lines.append(b'{"checkpoint":{"state":{"updated":{"at":%d}}}}\n' % (i + 1))
            sys.stdout.buffer.write(b"".join(lines))
            sys.stdout.buffer.flush()
            lines.clear()


for line in sys.stdin:
    request = msgspec.json.decode(line)
    [(kind, body)] = request.items()
    config = body.get("capture", {}).get("config", {})
    if kind == "apply":
        record(config.get("trace"), apply=body.get("state"), last=body.get("lastVersion"))
        states = config.get("apply_states", [])
        done = body["state"].get("applies", 0)
        if done < len(states):
            update = {"applies": done + 1, **states[done]}
            say(applied={"state": {"updated": update, "mergePatch": True}})
        else:
            say(applied={"actionDescription": "nothing to do"})
    elif kind == "open":
        record(config.get("trace"), open=body["state"])
        say(opened={"explicitAcknowledgements": bool(config.get("acknowledge"))})
        if "by_range" in config:
            begin = body.get("range", {}).get("keyBegin", 0)
            record(config.get("trace"), range=begin)
            step("emit", [0, {"id": begin}])
            step("patch", {str(begin): 1})
            sys.exit(0)
        if "count" in config:
            count(config, body["state"])
            sys.exit(0)
        for each in config["steps"]:
            [(name, value)] = each.items()
            if name == "wait":
                while value > 0:
                    acknowledged = msgspec.json.decode(sys.stdin.readline())
                    record(config.get("trace"), **acknowledged)
                    value -= acknowledged["acknowledge"]["checkpoints"]
            else:
                step(name, value)
        sys.exit(0)
