"""What tasks logged is kept and shown; every command that logs can be told how."""

import json
import signal
import time

import pytest

from estuary_cdk.testing.patience import HANGS_S
from flow_local.supervisor.task_logs import LOG_BYTES_MAX

WAIT_S = HANGS_S
LOGGING = [["run"], ["validate"], ["discover"], ["spec"], ["preview"]]
LOGGING += [["raw", "spec"], ["raw", "discover"]]


def _saying(*sentences: str) -> tuple[str, str]:
    return "[PYTHON, SOURCE]", f"[PYTHON, SOURCE, {', '.join(sentences)}]"


@pytest.fixture
def logged(project):
    project.write(_saying("hello there"))
    ended = project.run("run", "--until-idle")
    assert ended.code == 0, ended.err
    return project


def test_what_a_connector_logs_is_kept_with_its_task(logged):
    source = logged.call("logs", "acme/source").documents
    assert "hello there" in [event["message"] for event in source]
    assert {event["fields"]["task"] for event in source} == {"acme/source"}
    every = logged.call("logs").documents
    assert {event["fields"]["task"] for event in every} == {"acme/source", "acme/table"}
    assert [event["ts"] for event in every] == sorted(event["ts"] for event in every)
    assert logged.call("logs", "--lines", "2").documents == every[-2:]


def test_logs_are_text_for_people(logged):
    ended = logged.call("logs", "acme/source", "--log-format", "text")
    assert any(line.endswith("acme/source: hello there") for line in ended.out.splitlines())


def test_logs_of_a_task_that_is_not_there_are_a_mistake(logged):
    ended = logged.call("logs", "acme/sorce")
    assert (ended.code, ended.sentence) == (
        2,
        "can't show the logs of 'acme/sorce': there is no such task (did you mean 'acme/source'?)",
    )


def test_logs_are_followed_until_told_to_stop(project):
    project.write(_saying("the first run"))
    with project.start("logs", "acme/source", "--follow") as process:
        try:
            for message in ("the first run", "the second run"):
                project.write(_saying(message))
                assert project.run("run", "--until-idle").code == 0
                deadline = time.monotonic() + WAIT_S
                while message not in process.stdout.readline():
                    assert time.monotonic() < deadline
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=WAIT_S)
    assert process.returncode == 0


def test_logs_start_anew_when_they_are_large(project):
    folder = project.path / ".flow-local/logs/acme/source"
    folder.mkdir(parents=True)
    old = json.dumps({"ts": "2000-01-01T00:00:00Z", "message": "old"}) + "\n"
    newest = folder / "log.jsonl"
    newest.write_text(old * (LOG_BYTES_MAX // len(old)))
    project.write(_saying("new", "newer"))
    assert project.run("run", "--until-idle").code == 0
    assert newest.stat().st_size < LOG_BYTES_MAX // 10
    assert (folder / "before.jsonl").stat().st_size <= LOG_BYTES_MAX
    shown = project.call("logs", "acme/source", "--log-format", "text").out.splitlines()
    assert shown[0] == "2000-01-01T00:00:00Z       : old"
    assert shown[-1].split()[-1] != "old"


def test_a_reset_of_all_removes_logs(logged):
    assert logged.call("reset", "--yes").code == 0
    assert not (logged.path / ".flow-local").exists()


@pytest.mark.parametrize("command", LOGGING, ids=" ".join)
def test_every_command_that_logs_can_be_told_how(project, command):
    project.write(_saying("hello there"))
    arguments = [*command, "--source", "flow.yaml", "--name", "acme/source"]
    arguments += ["--timeout", "5"] if command == ["preview"] else []
    arguments += ["--until-idle"] if command == ["run"] else []
    for form in ("json", "text"):
        ended = project.call(*arguments, "--log-level", "info", "--log-format", form)
        assert ended.code == 0, ended.err
        lines = [line for line in ended.err.splitlines() if "hello there" in line]
        assert lines
        assert all(line.startswith("{") == (form == "json") for line in lines)
