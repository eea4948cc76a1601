"""The real process on real pipes: by hand, to its end, and killed at every phase."""

import subprocess
import sys

import msgspec
import pytest

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
from materialize_postgres import materialization

COMMAND = (sys.executable, "-m", "materialize_postgres")
SPEC = collection(
    "acme/users", ["/id"], {"id": required("integer"), "n": optional("integer", "string")}
)


def connector(failpoints: str = "") -> ConnectorProcess:
    return ConnectorProcess(COMMAND, failpoints)


def model(table: str, *, delta: bool = False) -> BindingModel:
    return BindingModel(SPEC, encode_json({"table": table, "delta_updates": delta}))


def in_process() -> MaterializeRuntime:
    """Starting another process takes most of a test's time."""
    return MaterializeRuntime(lambda *streams: serve(materialization, *streams))


TRANSACTIONS = 3
KEYS = 40


def document(transaction: int, key: int) -> bytes:
    return encode_json({"id": key, "n": transaction})


async def built(database) -> MaterializationSpec:
    config = encode_json(database.settings())
    return await in_process().build(config, [model("standard"), model("delta", delta=True)])


async def run(
    process: ConnectorProcess, recovery: Recovery, spec, crash: Crash | None = None
) -> None:
    """Run the transactions that the destination hasn't committed yet."""
    runtime = MaterializeRuntime(process.serve, recovery)
    async with runtime.session(spec, crash=crash) as session:
        done = int(msgspec.json.decode(recovery.checkpoint).get("n", 0))
        for transaction in range(done + 1, TRANSACTIONS + 1):
            keys = range(transaction, transaction + KEYS)
            documents = [(b, document(transaction, key)) for b in (0, 1) for key in keys]
            await session.bulk(documents, b'{"n":%d}' % transaction)


def require_exactly_once(database) -> None:
    delta = sorted((k, str(n)) for n in range(1, TRANSACTIONS + 1) for k in range(n, n + KEYS))
    latest = dict(sorted(delta))
    query = "select id, n #>> '{{}}' from {} order by id, n"
    assert database.run(query.format("delta")) == delta
    assert database.run(query.format("standard")) == sorted(latest.items())


@pytest.mark.crash
@pytest.mark.parametrize("moment", ["applying=kill", "applying=kill@2", "applied=kill"])
async def test_killed_while_it_changes_tables_it_may_apply_again(moment: str, database):
    spec = await built(database)
    killed = MaterializeRuntime(connector(f"materialize-postgres.{moment}").serve)
    with pytest.raises(Died, match="status -9"):
        await killed.apply(spec)
    again = MaterializeRuntime(connector().serve)
    await again.apply(spec)
    assert database.run("select id from standard union all select id from delta") == []
    assert await in_process().apply(spec) == []


MOMENTS = [
    "fenced=kill",
    "loaded=kill@2",
    "stored=kill",
    "stored=kill@3",
    "settled=kill@2",
    "committing=kill",
    "committing=kill@3",
    "committed=kill",
    "committed=kill@2",
]


@pytest.mark.crash
@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_anywhere_it_stores_everything_exactly_once(moment: str, database):
    recovery = Recovery()
    spec = await built(database)
    await in_process().apply(spec)
    with pytest.raises(Died, match="status -9"):
        await run(connector(f"materialize-postgres.{moment}"), recovery, spec)
    await run(connector(), recovery, spec)
    require_exactly_once(database)


@pytest.mark.crash
@pytest.mark.parametrize("boundary", [5, 9, 13, 17])
async def test_killed_by_its_runtime_it_stores_everything_exactly_once(boundary, database):
    recovery = Recovery()
    spec = await built(database)
    await in_process().apply(spec)
    with pytest.raises(Killed):
        await run(connector(), recovery, spec, crash=Crash(boundary))
    await run(connector(), recovery, spec)
    require_exactly_once(database)


def test_it_answers_by_hand():
    asked = subprocess.run(COMMAND, input=b'{"spec":{}}\n', capture_output=True, check=True)
    assert asked.stderr == b""
    spec = msgspec.json.decode(asked.stdout)["spec"]
    assert {"address", "database", "user", "credentials"} <= set(spec["configSchema"]["required"])
    assert spec["resourceConfigSchema"]["required"] == ["table"]
