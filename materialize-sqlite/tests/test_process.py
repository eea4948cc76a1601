"""The real process on real pipes: by hand, to its end, and killed at every phase."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from syrupy.assertion import SnapshotAssertion

from estuary_cdk.materialize.runner import serve
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.protocol.materialize import MaterializationSpec
from estuary_cdk.testing.connector_process import ConnectorProcess, Died
from estuary_cdk.testing.materialize_runtime import (
    BindingModel,
    Crash,
    Killed,
    MaterializeRuntime,
    Recovery,
)
from estuary_cdk.testing.selection import collection, optional, required
from materialize_sqlite import materialization

COMMAND = (sys.executable, "-m", "materialize_sqlite")
SPEC = collection(
    "acme/users", ["/id"], {"id": required("integer"), "n": optional("integer", "string")}
)


def connector(failpoints: str = "") -> ConnectorProcess:
    return ConnectorProcess(COMMAND, failpoints)


def config(path: Path) -> bytes:
    return encode_json({"path": str(path)})


def model(table: str, *, delta: bool = False) -> BindingModel:
    return BindingModel(SPEC, encode_json({"table": table, "delta_updates": delta}))


def table(path: Path, name: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(f"SELECT id, n FROM {name} ORDER BY id, n").fetchall()


TRANSACTIONS = 3
KEYS = 40


def document(transaction: int, key: int) -> bytes:
    return encode_json({"id": key, "n": transaction})


async def built(path: Path, recovery: Recovery) -> MaterializationSpec:
    """Validate in this process: starting another takes most of a test's time."""
    runtime = MaterializeRuntime(lambda *streams: serve(materialization, *streams), recovery)
    return await runtime.build(config(path), [model("standard"), model("delta", delta=True)])


async def applied(path: Path, recovery: Recovery) -> MaterializationSpec:
    runtime = MaterializeRuntime(lambda *streams: serve(materialization, *streams), recovery)
    spec = await built(path, recovery)
    await runtime.apply(spec)
    return spec


async def run(
    process: ConnectorProcess,
    recovery: Recovery,
    spec: MaterializationSpec,
    crash: Crash | None = None,
) -> None:
    """Run the transactions that the destination hasn't committed yet."""
    runtime = MaterializeRuntime(process.serve, recovery)
    async with runtime.session(spec, crash=crash) as session:
        done = int(msgspec.json.decode(recovery.checkpoint).get("n", 0))
        for transaction in range(done + 1, TRANSACTIONS + 1):
            keys = range(transaction, transaction + KEYS)
            documents = [(b, document(transaction, key)) for b in (0, 1) for key in keys]
            await session.bulk(documents, b'{"n":%d}' % transaction)


def require_exactly_once(path: Path) -> None:
    delta = sorted((k, str(n)) for n in range(1, TRANSACTIONS + 1) for k in range(n, n + KEYS))
    latest = dict(sorted(delta))
    assert table(path, "delta") == delta
    assert table(path, "standard") == sorted(latest.items())


@pytest.mark.crash
@pytest.mark.parametrize("moment", ["applying=kill", "applying=kill@2", "applied=kill"])
async def test_killed_while_it_changes_tables_it_may_apply_again(moment: str, tmp_path: Path):
    path, recovery = tmp_path / "data.db", Recovery()
    spec = await built(path, recovery)
    killed = MaterializeRuntime(connector(f"materialize-sqlite.{moment}").serve, recovery)
    with pytest.raises(Died, match="status -9"):
        await killed.apply(spec)
    await MaterializeRuntime(connector().serve, recovery).apply(spec)
    assert table(path, "standard") == table(path, "delta") == []


MOMENTS = [
    "fenced=kill",
    "stored=kill",
    "stored=kill@3",
    "committing=kill",
    "committing=kill@3",
    "committed=kill",
    "committed=kill@2",
]


@pytest.mark.crash
@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_anywhere_it_stores_everything_exactly_once(moment: str, tmp_path: Path):
    path, recovery = tmp_path / "data.db", Recovery()
    spec = await applied(path, recovery)
    with pytest.raises(Died, match="status -9"):
        await run(connector(f"materialize-sqlite.{moment}"), recovery, spec)
    await run(connector(), recovery, spec)
    require_exactly_once(path)


@pytest.mark.crash
@pytest.mark.parametrize("boundary", [5, 9, 13, 17])
async def test_killed_by_its_runtime_it_stores_everything_exactly_once(boundary, tmp_path):
    path, recovery = tmp_path / "data.db", Recovery()
    spec = await applied(path, recovery)
    with pytest.raises(Killed):
        await run(connector(), recovery, spec, crash=Crash(boundary))
    await run(connector(), recovery, spec)
    require_exactly_once(path)


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
