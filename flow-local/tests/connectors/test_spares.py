"""A connector's process is asked again where it goes on reading, and replaced where it doesn't."""

import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest
from msgspec import Raw

from estuary_cdk.protocol import capture
from flow_local.connectors import (
    CAPTURE,
    Connector,
    Spares,
    apply_capture,
    conversation,
    local,
    spares,
    validate_capture,
)

VALIDATE = capture.Validate(name="acme/x", config=Raw(b"{}"))
APPLY = capture.Apply(capture=capture.CaptureSpec(name="acme/x"))
ANSWERS = """
    import json, os, sys
    print(json.dumps({"message": str(os.getpid())}), file=sys.stderr, flush=True)
    ANSWERS = {"spec": "spec", "validate": "validated", "apply": "applied", "open": "opened"}

    def answer(line):
        [kind] = json.loads(line)
        print(json.dumps({ANSWERS[kind]: {}}), flush=True)
"""
GOES_ON = "for line in sys.stdin: answer(line)"
ANSWERS_ONCE = "answer(sys.stdin.readline())"
FAILS_THEN = """
answer(sys.stdin.readline())
if sys.stdin.readline():
    raise ValueError("asked twice")
"""
IGNORES_MORE = "answer(sys.stdin.readline()); sys.stdin.read()"
READS_ALL_FIRST = "answer(sys.stdin.read())"


@pytest.fixture
def connector(tmp_path):
    def made(script: str, kept: Spares) -> tuple[Connector, list[str]]:
        path = tmp_path / "connector.py"
        path.write_text(f"{textwrap.dedent(ANSWERS)}\n{script}\n")
        said: list[str] = []
        endpoint = local([sys.executable, "-S", str(path)])
        return Connector(endpoint, "acme/x", lambda e: said.append(e.message), spares=kept), said

    return made


def is_running(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_one_that_goes_on_is_one_process_from_validate_to_open(connector):
    async with spares() as kept:
        asked, pids = connector(GOES_ON, kept)
        await validate_capture(asked, VALIDATE)
        await apply_capture(asked, APPLY)
        async with conversation(asked, CAPTURE, "capture") as talk:
            await talk.send(capture.Open(capture=APPLY.capture))
            await talk.expect(capture.Opened)
        assert pids == [str(talk.pid)]
        assert not is_running(pids[0])


@pytest.mark.parametrize("script", [ANSWERS_ONCE, FAILS_THEN])
async def test_one_that_answers_once_is_asked_in_a_process_of_its_own(connector, script):
    async with spares() as kept:
        asked, said = connector(script, kept)
        await validate_capture(asked, VALIDATE)
        await apply_capture(asked, APPLY)
    assert len([pid for pid in said if pid.isdigit()]) == 2


async def test_one_that_answers_once_is_not_tried_again(connector):
    async with spares(trial_s=0.01) as kept:
        asked, _ = connector(IGNORES_MORE, kept)
        await validate_capture(asked, VALIDATE)
        assert kept.hopeless == {"acme/x"}
        await apply_capture(asked, APPLY)


async def test_one_that_answers_at_the_end_of_requests_is_told_of_it(connector):
    async with spares(patience_s=0.01) as kept:
        asked, _ = connector(READS_ALL_FIRST, kept)
        await validate_capture(asked, VALIDATE)


async def test_one_that_was_killed_meanwhile_is_replaced(connector):
    async with spares() as kept:
        asked, pids = connector(GOES_ON, kept)
        await validate_capture(asked, VALIDATE)
        os.kill(int(pids[0]), signal.SIGKILL)
        [(_, talk)] = kept._kept.values()
        assert await talk._process.ended(10) == -signal.SIGKILL
        await apply_capture(asked, APPLY)
        assert len(set(pids)) == 2


async def test_those_that_nobody_asks_are_ended(connector):
    async with spares() as kept:
        asked, pids = connector(GOES_ON, kept)
        await validate_capture(asked, VALIDATE)
        assert is_running(pids[0])
    assert not is_running(pids[0])
