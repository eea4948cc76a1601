import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest
from msgspec import Raw

from estuary_cdk.errors import ConfigError, LocalProtocolError, RemoteProtocolError
from estuary_cdk.protocol import capture
from estuary_cdk.testing.patience import HANGS_S
from flow_local.connectors import (
    CAPTURE,
    Connector,
    ConnectorFailed,
    Conversation,
    capture_spec,
    conversation,
    discover,
    local,
    validate_capture,
)

SPEC = capture.CaptureSpec(name="acme/x")
WAIT_S = HANGS_S


@pytest.fixture
def connector(tmp_path):
    def made(script: str, events: list | None = None) -> Connector:
        path = tmp_path / "connector.py"
        path.write_text("import sys, os, time, signal, subprocess\n" + textwrap.dedent(script))
        sink = events.append if events is not None else (lambda event: None)
        return Connector(local([sys.executable, "-S", str(path)]), "acme/x", sink)

    return made


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def runs_of(talk: Conversation) -> list:
    runs = []
    while more := await talk.receive():
        runs += more
    return runs


async def gone(pid: int) -> None:
    while exists(pid):
        await asyncio.sleep(0.01)


async def test_a_question_gets_its_answer_and_logs_are_handed_on(connector):
    events: list = []
    asked = connector(
        """
        request = sys.stdin.readline()
        assert request == '{"spec":{"connectorType":"LOCAL"}}\\n', request
        assert sys.stdin.read() == ""
        print('{"level":"info","message":"hi"}', file=sys.stderr)
        print('{"spec":{"protocol":3032023,"configSchema":{"a": 1.0}}}', flush=True)
        """,
        events,
    )
    answer = await capture_spec(asked)
    assert bytes(answer.config_schema) == b'{"a": 1.0}'
    assert [event.message for event in events] == ["hi"]


async def test_a_failure_tells_task_status_and_the_connectors_last_line(connector):
    failing = connector(
        """
        sys.stdin.readline()
        print('{"level":"info","message":"trying"}', file=sys.stderr)
        print('{"level":"error","message":"password authentication failed"}', file=sys.stderr)
        sys.exit(3)
        """
    )
    with pytest.raises(ConnectorFailed) as failure:
        await discover(failing, capture.Discover(config=Raw(b"{}")))
    assert str(failure.value) == (
        "can't discover 'acme/x': the connector exited with status 3: "
        "password authentication failed"
    )
    assert failure.value.status == 3
    assert not failure.value.killed


async def test_a_raw_traceback_is_told_by_its_last_line(connector):
    failing = connector("sys.stdin.readline(); raise ValueError('no such host')")
    with pytest.raises(ConnectorFailed, match=r"exited with status 1: ValueError: no such host$"):
        await capture_spec(failing)


async def test_garbage_on_stdout_is_quoted(connector):
    noisy = connector("print('Loading config...', flush=True); sys.stdin.read()")
    with pytest.raises(RemoteProtocolError, match=r"'acme/x'.*Loading config.*stdout carries"):
        await capture_spec(noisy)


async def test_a_message_without_its_line_break_is_an_error(connector):
    torn = connector("sys.stdin.readline(); sys.stdout.write('{\"spec\"')")
    with pytest.raises(RemoteProtocolError, match=r"'acme/x'.*exited with status 0"):
        await capture_spec(torn)


async def test_an_exit_without_an_answer_is_an_error(connector):
    with pytest.raises(RemoteProtocolError, match=r"can't ask for the spec of 'acme/x'.*status 0"):
        await capture_spec(connector("sys.stdin.readline()"))


async def test_an_answer_is_taken_from_a_connector_that_never_ends(connector):
    endless = connector(
        """
        print(f'{{"spec":{{"documentationUrl":"{os.getpid()}"}}}}', flush=True)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(60)
        """
    )
    answer = await asyncio.wait_for(capture_spec(endless), WAIT_S)
    await asyncio.wait_for(gone(int(answer.documentation_url)), WAIT_S)


async def test_a_second_answer_is_an_error(connector):
    twice = connector('print(\'{"spec":{}}\\n{"spec":{}}\', flush=True); sys.stdin.read()')
    with pytest.raises(RemoteProtocolError, match="'acme/x'"):
        await capture_spec(twice)


async def test_another_protocol_version_is_refused(connector):
    old = connector('sys.stdin.readline(); print(\'{"spec":{"protocol":2}}\')')
    with pytest.raises(RemoteProtocolError, match="speaks protocol 2, not 3032023"):
        await capture_spec(old)


async def test_the_answer_has_one_entry_per_binding(connector):
    short = connector("sys.stdin.readline(); print('{\"validated\":{}}')")
    request = capture.Validate(bindings=[capture.ValidateBinding()])
    with pytest.raises(RemoteProtocolError, match="answered 0 bindings, not the 1"):
        await validate_capture(short, request)


async def test_a_program_that_vanished_is_told(tmp_path):
    program = tmp_path / "gone"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    endpoint = local([str(program)])
    program.unlink()
    with pytest.raises(ConnectorFailed, match=r"can't execute.*No such file"):
        await capture_spec(Connector(endpoint, "acme/x", lambda event: None))


async def test_a_working_directory_that_vanished_is_told(tmp_path, monkeypatch):
    connector = Connector(local(["sh"], {"BAD": "\0"}), "acme/x", lambda event: None)
    with pytest.raises(ConfigError, match="can't launch connector 'sh'"):
        await capture_spec(connector)


async def test_what_we_may_not_send_does_not_reach_the_connector(connector):
    silent = connector("sys.stdin.read()")
    async with conversation(silent, CAPTURE, "capture") as talk:
        with pytest.raises(LocalProtocolError, match="can't send acknowledge"):
            await talk.send(capture.Acknowledge(checkpoints=1))


async def test_a_session_that_ends_between_checkpoints_ends_well(connector):
    fine = connector(
        """
        sys.stdin.readline()
        print('{"opened":{}}\\n{"captured":{"doc":{"a":1.0}}}\\n{"checkpoint":{}}', flush=True)
        """
    )
    async with conversation(fine, CAPTURE, "capture") as talk:
        await talk.send(capture.Open(capture=SPEC))
        runs = await runs_of(talk)
        assert [kind for kind, _ in runs] == [capture.Opened, capture.Captured, capture.Checkpoint]
        assert bytes(runs[1][1][0].doc) == b'{"a":1.0}'
        assert await talk.receive() == []


async def test_a_session_that_ends_inside_a_checkpoint_fails(connector):
    broken = connector(
        'sys.stdin.readline(); print(\'{"opened":{}}\\n{"captured":{"doc":{}}}\', flush=True)'
    )
    async with conversation(broken, CAPTURE, "capture") as talk:
        await talk.send(capture.Open(capture=SPEC))
        with pytest.raises(RemoteProtocolError, match=r"can't capture 'acme/x'.*in the middle"):
            await runs_of(talk)


async def test_a_killed_connector_is_told_by_its_signal(connector):
    dying = connector("sys.stdin.readline(); os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ConnectorFailed, match=r"was killed by SIGKILL: it logged nothing") as error:
        await capture_spec(dying)
    assert error.value.killed


async def test_leaving_the_conversation_ends_a_connector_that_ignores_all_hints(connector):
    stubborn = connector(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "1000"])
        print('{"opened":{}}\\n{"captured":{"doc":%d}}' % child.pid, flush=True)
        time.sleep(1000)
        """
    )
    async with conversation(stubborn, CAPTURE, "capture", grace_s=0.1) as talk:
        await talk.send(capture.Open(capture=SPEC))
        pids = [talk.pid]
        while len(pids) == 1:
            for kind, messages in await talk.receive():
                pids += [int(bytes(m.doc)) for m in messages if kind is capture.Captured]
    for pid in pids:
        async with asyncio.timeout(HANGS_S):
            await gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's death signal is Linux's")
async def test_a_connector_does_not_survive_our_being_killed(tmp_path):
    connector = tmp_path / "connector.py"
    connector.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(1000)\n")
    runtime = tmp_path / "runtime.py"
    runtime.write_text(
        textwrap.dedent(f"""
        import asyncio, sys
        from flow_local.connectors import local
        from flow_local.connectors.process import launch

        async def main():
            process = await launch(local([sys.executable, {str(connector)!r}]), print)
            print((await process.stdout.read()).decode(), flush=True)
            await asyncio.sleep(1000)

        asyncio.run(main())
        """)
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(runtime), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    pid = int(await child.stdout.readline())
    assert exists(pid)
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    async with asyncio.timeout(HANGS_S):
        await gone(pid)
