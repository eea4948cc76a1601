"""A capture as a process: its pipes, its signals, its crashes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from estuary_cdk.protocol import capture as messages
from estuary_cdk.protocol.codec import CAPTURE_REQUESTS, Codec
from estuary_cdk.testing.patience import HANGS_S
from estuary_cdk.testing.runtime import CaptureRuntime

HERE = Path(__file__).parent
ENCODE = Codec(CAPTURE_REQUESTS).encode


def process(pull: str = "count", **environment: str) -> subprocess.Popen[bytes]:
    program = f"""
import asyncio, counting
from counting import State
async def endless(pull):
    async with pull.transaction() as transaction:
        await transaction.emit(pull.bindings[0], [b'{{"n":0}}'])
        transaction.checkpoint(pull.bindings[0], State(next=1))
    await asyncio.Event().wait()
count = counting.count
counting.counting(pull={pull}).main()
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "LOG_FORMAT": "json",
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
            **environment,
        },
    )


async def opening() -> bytes:
    from counting import counting

    built = await CaptureRuntime(counting().serve).build({"counters": 1})
    return ENCODE(messages.Open(capture=built))


def spoken(out: bytes) -> list[str]:
    return [next(iter(msgspec.json.decode(line))) for line in out.splitlines()]


def test_spec_can_be_asked_by_hand():
    out, err = process().communicate(b'{"spec":{}}\n')
    assert spoken(out) == ["spec"]
    assert err == b""


def test_garbage_is_answered_with_one_sentence_and_status_1():
    asked = process()
    out, err = asked.communicate(b"hello\n")
    assert (out, asked.returncode) == (b"", 1)
    [line] = err.splitlines()
    assert msgspec.json.decode(line)["message"].startswith("can't read message b'hello")


async def test_a_capture_that_is_done_exits_with_status_0_while_stdin_is_open():
    capture = process()
    capture.stdin.write(await opening())
    capture.stdin.flush()
    out = capture.stdout.read()
    assert capture.wait(timeout=HANGS_S) == 0
    capture.communicate()
    assert spoken(out).count("captured") == 10
    assert spoken(out)[-1] == "checkpoint"


@pytest.mark.parametrize("how", ["the end of stdin", "SIGTERM", "SIGINT"])
async def test_an_endless_capture_stops_in_order(how):
    capture = process("endless")
    capture.stdin.write(await opening())
    capture.stdin.flush()
    lines = [capture.stdout.readline() for _ in range(3)]
    if how != "the end of stdin":
        capture.send_signal(getattr(signal, how))
    else:
        capture.stdin.close()
        capture.stdin = None
    assert capture.wait(timeout=HANGS_S) == 0
    out, err = capture.communicate()
    assert (spoken(b"".join(lines)), out, err) == (["opened", "captured", "checkpoint"], b"", b"")


@pytest.mark.parametrize("point", ["before", "after"])
async def test_killed_around_a_checkpoint_it_leaves_whole_lines(point):
    capture = process(FAILPOINTS=f"capture.{point}-checkpoint=kill@2")
    capture.stdin.write(await opening())
    capture.stdin.flush()
    out = capture.stdout.read()
    assert capture.wait(timeout=HANGS_S) == -signal.SIGKILL
    capture.communicate()
    assert out.count(b"checkpoint") <= 2
    assert all(spoken(out))
