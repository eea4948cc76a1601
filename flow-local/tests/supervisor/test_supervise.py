import asyncio
import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from estuary_cdk.testing.patience import HANGS_S, bound_s

PIPELINE = Path(__file__).with_name("pipeline.py")
_spec = importlib.util.spec_from_file_location("pipeline_of_supervision", PIPELINE)
assert _spec is not None
assert _spec.loader is not None
pipeline = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pipeline)
COUNT = {"count": 600, "keys": 40, "every": 25}
FAILPOINTS = [
    "journal.before_write=kill@1",
    "journal.after_write=kill@1",
    "journal.before_sync=kill@1",
    "journal.after_sync=kill@1",
    "capture.before_commit=kill@1",
    "capture.after_commit=kill@1",
    "recovery.before_commit=kill@4",
    "recovery.after_commit=kill@3",
    "materialization.before_start_commit=kill@1",
    "materialization.before_commit=kill@1",
    "materialization.after_commit=kill@1",
]


def start(directory: Path, config: dict, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(PIPELINE), str(directory), msgspec.json.encode(config).decode()],
        stdout=subprocess.PIPE,
        env={**os.environ, **environment},
        text=True,
    )


def ended(process: subprocess.Popen) -> tuple[int, str]:
    out, _ = process.communicate(timeout=HANGS_S)
    return process.returncode, out


def table(directory: Path) -> dict[int, int]:
    connection = sqlite3.connect(directory / "out.db")
    documents = [
        msgspec.json.decode(text) for (text,) in connection.execute("SELECT doc FROM docs")
    ]
    connection.close()
    return {document["id"]: document["n"] for document in documents}


def sums() -> dict[int, int]:
    expected: dict[int, int] = {}
    for n in range(COUNT["count"]):
        expected[n % COUNT["keys"]] = expected.get(n % COUNT["keys"], 0) + n
    return expected


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_all_that_the_source_has_arrives_once_and_the_process_ends(tmp_path):
    code, out = ended(start(tmp_path, {"source": COUNT}))
    assert (code, out) == (0, "running\nended\n")
    assert table(tmp_path) == sums()
    assert asyncio.run(pipeline.run(tmp_path, {"source": COUNT})) == 0
    assert table(tmp_path) == sums()


@pytest.mark.crash
@pytest.mark.parametrize("place", FAILPOINTS)
def test_a_kill_on_the_first_run_is_recovered_from(tmp_path, place):
    code, _ = ended(start(tmp_path, {"source": COUNT}, FAILPOINTS=place))
    assert code == -signal.SIGKILL
    assert asyncio.run(pipeline.run(tmp_path, {"source": COUNT})) == 0
    assert table(tmp_path) == sums()


def test_one_tasks_failure_is_told_and_does_not_stop_the_other(tmp_path):
    source = {"steps": [{"emit": [0, {"id": 1, "n": 1}]}, {"patch": {}}, {"exit": 3}]}
    code, out = ended(start(tmp_path, {"source": source}))
    assert code == 1
    assert out.splitlines()[-2] == (
        "can't capture 'acme/source': the connector exited with status 3: told to exit 3"
    )
    assert table(tmp_path) == {1: 1}


def test_a_connector_that_was_killed_is_restarted_so_many_times(tmp_path):
    trace = tmp_path / "trace"
    source = {"steps": [{"die": True}], "trace": str(trace)}
    code, out = ended(start(tmp_path, {"source": source, "restarts": 2}))
    assert code == 1
    assert "was killed by SIGKILL" in out
    assert trace.read_bytes().count(b'"open"') == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_time_and_keeps_what_was_checkpointed(tmp_path, number):
    steps = [{"emit": [0, {"id": 1, "n": 1}]}, {"patch": {}}, {"emit": [0, {"id": 2}]}]
    source = {"steps": [*steps, {"hang": True}]}
    process = start(tmp_path, {"source": source, "until_idle": False})
    deadline = time.monotonic() + HANGS_S
    while not (tmp_path / "out.db").exists() or 1 not in _table_so_far(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    connectors = children(process.pid)
    assert len(connectors) == 2
    began = time.monotonic()
    process.send_signal(number)
    code, out = ended(process)
    assert time.monotonic() - began < bound_s(5)
    assert (code, out) == (0, "running\nended\n")
    assert not any(alive(pid) for pid in connectors)
    assert table(tmp_path) == {1: 1}


def _table_so_far(directory: Path) -> dict[int, int]:
    try:
        return table(directory)
    except sqlite3.OperationalError:
        return {}


def test_a_second_process_on_the_same_directory_is_refused(tmp_path):
    first = start(tmp_path, {"source": {"steps": [{"hang": True}]}, "until_idle": False})
    assert first.stdout is not None
    first.stdout.readline()
    second = subprocess.run(
        [sys.executable, str(PIPELINE), str(tmp_path), '{"source":{}}'],
        capture_output=True,
        text=True,
        check=False,
    )
    first.terminate()
    first.communicate()
    assert second.returncode == 1
    assert f"flow-local is running on it as process {first.pid}" in second.stderr


async def test_nothing_is_left_running_when_supervision_is_cancelled(tmp_path):
    process = start(tmp_path, {"source": {"steps": [{"hang": True}]}, "until_idle": False})
    assert process.stdout is not None
    process.stdout.readline()
    while len(children(process.pid)) < 2:
        await asyncio.sleep(0.02)
    connectors = children(process.pid)
    process.kill()
    process.communicate()
    async with asyncio.timeout(HANGS_S):
        while any(alive(pid) for pid in connectors):
            await asyncio.sleep(0.02)
