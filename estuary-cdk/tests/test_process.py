"""How a process ends: its exit status and its last line on stderr."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import msgspec
import pytest

from estuary_cdk.errors import ConfigError, Fenced, TransientError
from estuary_cdk.process import report, served
from estuary_cdk.testing.patience import HANGS_S
from estuary_cdk.transport import pair


def run(serve_body: str, **options) -> subprocess.Popen[bytes]:
    program = textwrap.dedent(
        """
        import asyncio
        from estuary_cdk.errors import *
        from estuary_cdk.process import main

        async def serve(reader, writer):
        {}
        main(serve)
        """
    ).format(textwrap.indent(textwrap.dedent(serve_body), "    "))
    environment = {**os.environ, "LOG_FORMAT": "json", "PYTHONPATH": ":".join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        **options,
    )


def last_line(stderr: bytes) -> dict:
    return msgspec.json.decode(stderr.splitlines()[-1])


def test_the_end_of_stdin_ends_an_idle_process_with_status_0():
    process = run("""
        while block := await reader.read():
            await writer.write(block)
    """)
    out, err = process.communicate(b"{}\n")
    assert (out, err, process.returncode) == (b"{}\n", b"", 0)


def test_a_user_error_is_one_sentence_without_a_traceback():
    process = run("""raise ConfigError("can't open 'x': it isn't there", hint="create it")""")
    _, err = process.communicate(b"")
    assert process.returncode == 1
    [line] = err.splitlines()
    event = msgspec.json.decode(line)
    assert event["message"] == "can't open 'x': it isn't there (create it)"
    assert event["fields"] == {}


def test_a_bug_carries_its_traceback_in_the_fields_of_the_last_line():
    process = run("""raise KeyError("row")""")
    _, err = process.communicate(b"")
    assert process.returncode == 1
    event = last_line(err)
    assert "KeyError" in event["message"]
    assert any("in serve" in line for line in event["fields"]["traceback"])


def test_prints_of_a_library_never_reach_stdout():
    process = run("""print("hello")""")
    out, err = process.communicate(b"")
    assert out == b""
    assert b"hello" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels_and_whoever_ends_properly_exits_with_0(number):
    process = run("""
        await writer.write(b"ready\\n")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await writer.write(b"done\\n")
    """)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    out, err = process.communicate()
    assert (out, err, process.returncode) == (b"done\n", b"", 0)


def test_a_signal_ends_a_process_that_is_in_the_middle_with_status_1():
    process = run("""
        await writer.write(b"ready\\n")
        await reader.read()
    """)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=HANGS_S) == 1
    with process:
        assert "stopped by a signal" in last_line(process.stderr.read())["message"]


def test_of_several_causes_the_users_comes_last(caplog):
    user = ConfigError("can't log in: wrong password")
    report(ExceptionGroup("", [user, ExceptionGroup("", [ValueError("x"), TransientError("t")])]))
    assert caplog.messages[-1] == "can't log in: wrong password"
    assert len(caplog.messages) == 3


def test_a_fenced_process_says_only_that(caplog):
    report(ExceptionGroup("", [Fenced("a newer instance took over"), ValueError("closed")]))
    assert caplog.messages == ["a newer instance took over"]


async def test_cancelled_siblings_are_no_causes(caplog):
    async def serve(reader, writer):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(3600))
            tasks.create_task(fail())

    async def fail():
        raise ConfigError("can't connect")

    assert await served(serve, *pair()) == 1
    assert caplog.messages == ["can't connect"]
