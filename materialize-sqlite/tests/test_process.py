"""The real process on real pipes: by hand, to its end, and killed at every phase."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from syrupy.assertion import SnapshotAssertion

from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.testing.killed_tasks import KILLS, KilledTask
from materialize_sqlite import materialization

COMMAND = (sys.executable, "-m", "materialize_sqlite")


@pytest.fixture
def task(tmp_path: Path) -> KilledTask:
    path = tmp_path / "data.db"

    def rows(table: str):
        with closing(sqlite3.connect(path)) as db:
            return db.execute(f"SELECT id, n FROM {table} ORDER BY id, n").fetchall()

    config = encode_json({"path": str(path)})
    return KilledTask(materialization, "materialize-sqlite", COMMAND, config, rows)


@pytest.mark.crash
@pytest.mark.parametrize(("phase", "moment"), KILLS)
async def test_killed_anywhere_it_has_every_row_once(phase: str, moment: str, task: KilledTask):
    await task.survives(phase, moment)


def test_it_answers_by_hand(snapshot: SnapshotAssertion):
    asked = subprocess.run(COMMAND, input=b'{"spec":{}}\n', capture_output=True, check=True)
    assert asked.stderr == b""
    [line] = asked.stdout.splitlines()
    assert msgspec.json.format(line, indent=2).decode() == snapshot


def test_a_users_mistake_is_one_sentence(tmp_path: Path):
    path = tmp_path / "missing" / "data.db"
    request = {"validate": {"name": "a/b", "config": {"path": str(path)}, "bindings": []}}
    asked = subprocess.run(
        COMMAND,
        check=False,
        input=encode_json(request) + b"\n",
        capture_output=True,
        env={**os.environ, "LOG_FORMAT": "json"},
    )
    assert asked.returncode == 1
    last = msgspec.json.decode(asked.stderr.splitlines()[-1])
    assert last["message"] == (
        f"can't open database {str(path)!r}: its directory doesn't exist "
        f"(create {str(path.parent)!r} or name another path)"
    )
    assert asked.stdout == b""
