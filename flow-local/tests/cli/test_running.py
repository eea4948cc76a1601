"""`run`: from a catalog to documents where they belong, and how that is shown and ended."""

import os
import pty
import re
import signal
import time
from contextlib import suppress

import psutil
import pytest

from estuary_cdk.testing.patience import HANGS_S, bound_s
from flow_local.cli import running
from flow_local.supervisor import Restarts

STOP_S = 5


def test_documents_travel_from_source_to_table(project, documents):
    ended = project.run("run", "--until-idle")
    assert (ended.code, ended.out) == (0, "")
    assert project.stored == documents
    assert (project.path / ".flow-local").is_dir()


def test_a_second_run_moves_nothing(project, documents):
    project.run("run", "--until-idle")
    assert project.run("run", "--until-idle").code == 0
    assert project.stored == documents


def test_without_a_terminal_the_log_is_lines_of_json(project):
    ended = project.run("run", "--until-idle")
    progress = [line for line in ended.logged if line["message"] == "progress"]
    told = {line["fields"]["task"]: line["fields"] for line in progress}
    assert told["acme/source"]["documents"] == told["acme/table"]["documents"] == 3
    assert told["acme/table"]["phase"] == "done"
    assert told["acme/table"]["bindings"][0]["collection"] == "acme/events"


def test_only_the_named_task_runs(project):
    ended = project.run("run", "--until-idle", "--name", "acme/source")
    assert ended.code == 0
    assert project.stored == []
    assert len(project.run("read", "acme/events").documents) == 3


def test_data_goes_where_it_is_told_to(project, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    assert project.run("run", "--until-idle", "--data-dir", str(elsewhere)).code == 0
    assert (elsewhere / "recovery.db").exists()
    assert not (project.path / ".flow-local").exists()


@pytest.mark.parametrize(("at", "times"), [("validate", 2), ("apply", 1)])
def test_a_connector_that_is_killed_as_it_is_asked_is_asked_again(
    project, documents, monkeypatch, at, times
):
    monkeypatch.setattr(running, "BUILD_RETRIES", Restarts(in_a_row_max=2, delay_s=0.01))
    deaths = {"at": at, "times": times, "tally": str(project.path / "deaths")}
    project.write(documents=documents, deaths=deaths)
    ended = project.run("run", "--until-idle")
    assert ended.code == 0, ended.err
    assert (project.path / "deaths").read_text() == "x" * times
    assert project.stored == documents


def test_a_connector_that_is_always_killed_as_it_is_asked_ends_the_run(project, monkeypatch):
    monkeypatch.setattr(running, "BUILD_RETRIES", Restarts(in_a_row_max=2, delay_s=0.01))
    deaths = {"at": "validate", "times": 9, "tally": str(project.path / "deaths")}
    project.write(documents=[], deaths=deaths)
    ended = project.run("run", "--until-idle")
    assert (ended.code, ended.sentence) == (
        1,
        "flow.yaml:4: can't validate 'acme/source': the connector was killed by SIGKILL: "
        "it logged nothing",
    )
    assert (project.path / "deaths").read_text() == "xxx"


def test_a_run_that_takes_too_long_ends_with_its_own_code(project):
    project.write(endless=True)
    ended = project.run("run", "--timeout", "2", "--name", "acme/source")
    assert ended.code == 3
    assert re.fullmatch(r"can't finish 'acme/source' within 2 s: it is \w+", ended.sentence)


def _wait_for_documents(project, process) -> None:
    deadline = time.monotonic() + HANGS_S
    while not project.written:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_soon_and_leaves_no_process(project, number):
    project.write(endless=True)
    with project.start("run", start_new_session=True) as process:
        _wait_for_documents(project, process)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        os.kill(process.pid, number)
        _, err = process.communicate(timeout=bound_s(STOP_S))
    assert process.returncode == 0, err
    assert '"message":"stopped"' in err
    assert [child for child in children if child.is_running()] == []


def test_what_was_checkpointed_before_ctrl_c_is_there_afterwards(project):
    project.write(endless=True)
    with project.start("run", start_new_session=True) as process:
        _wait_for_documents(project, process)
        os.kill(process.pid, signal.SIGINT)
        process.communicate(timeout=bound_s(STOP_S))
    stored = project.stored
    read = project.run("read", "acme/events").documents
    assert len(read) >= len(stored) > 0
    assert [each["id"] for each in read] == list(range(1, len(read) + 1))


def test_on_a_terminal_progress_is_a_table(project):
    ours, theirs = pty.openpty()
    with project.start("run", "--until-idle", stderr=theirs, env={"TERM": "xterm"}) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # The terminal's end, once the process has ended.
            while chunk := os.read(ours, 1 << 16):
                shown += chunk
        os.close(ours)
    assert process.returncode == 0
    table = shown.decode().rpartition("Task ")[2]
    rows = [line.split() for line in table.splitlines() if "acme" in line]
    assert [(row[0], row[1], row[2], row[-1]) for row in rows] == [
        ("acme/source", "acme/events", "3", "done"),
        ("acme/table", "acme/events", "3", "done"),
    ]
    assert b'"level"' not in shown


INFERRED = (
    "    schema:\n",
    (
        "    readSchema: {allOf: [{$ref: 'flow://write-schema'}, {$ref: 'flow://inferred-schema'}]}\n"
        "    writeSchema:\n"
    ),
)


def test_a_task_that_waits_for_an_inferred_schema_runs_once_it_is_known(project, documents):
    project.write(INFERRED, ("        name: {type: string}\n", ""))
    assert project.run("run", "--until-idle").code == 0
    assert project.stored == documents
    fields = {line.split()[0] for line in project.call("validate").out.splitlines() if line}
    assert {"id", "name"} < fields


def test_a_task_that_waits_for_an_inferred_schema_needs_no_quiet_source(project):
    project.write(INFERRED, ("        name: {type: string}\n", ""), endless=True)
    with project.start("run", start_new_session=True) as process:
        _wait_for_documents(project, process)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=bound_s(STOP_S))
    assert process.returncode == 0, err


def test_a_task_that_waits_in_vain_is_told_of(project):
    project.write(INFERRED, documents=[])
    ended = project.run("run", "--until-idle")
    assert ended.code == 0
    [waits] = [line for line in ended.logged if line["level"] == "warn"]
    assert waits["message"] == "task waits until its collections have documents"
    assert waits["fields"] == {"task": "acme/table", "waits": ["acme/events"]}
