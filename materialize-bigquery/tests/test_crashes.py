"""The real process, killed at every phase: everything is stored exactly once, nothing is left."""

import subprocess
import sys

import msgspec
import pytest
from test_contract import subject

from estuary_cdk.materialize.runner import serve
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.protocol.materialize import MaterializationSpec
from estuary_cdk.testing.connector_process import ConnectorProcess, Died
from estuary_cdk.testing.materialize_crashes import survives
from estuary_cdk.testing.materialize_runtime import (
    BindingModel,
    Crash,
    MaterializeRuntime,
    Recovery,
)
from estuary_cdk.testing.selection import collection, optional, required
from materialize_bigquery import materialization

COMMAND = (sys.executable, "-m", "materialize_bigquery")
SPEC = collection(
    "acme/users", ["/id"], {"id": required("integer"), "n": optional("integer", "string")}
)
TRANSACTIONS = 3
KEYS = 20


def connector(failpoints: str = "") -> ConnectorProcess:
    return ConnectorProcess(COMMAND, failpoints)


def model(table: str, *, delta: bool = False) -> BindingModel:
    return BindingModel(SPEC, encode_json({"table": table, "delta_updates": delta}))


async def ready(dataset) -> MaterializationSpec:
    """Build and apply in this process: starting others takes most of a test's time."""
    runtime = MaterializeRuntime(lambda *streams: serve(materialization, *streams))
    config = encode_json(dataset.settings())
    spec = await runtime.build(config, [model("standard"), model("delta", delta=True)])
    await runtime.apply(spec)
    return spec


async def run(process: ConnectorProcess, recovery: Recovery, spec) -> None:
    """Run the transactions that aren't committed yet."""
    runtime = MaterializeRuntime(process.serve, recovery)
    async with runtime.session(spec) as session:
        done = int(msgspec.json.decode(recovery.checkpoint).get("n", 0))
        for transaction in range(done + 1, TRANSACTIONS + 1):
            keys = range(transaction, transaction + KEYS)
            documents = [
                (b, encode_json({"id": key, "n": transaction})) for b in (0, 1) for key in keys
            ]
            await session.bulk(documents, b'{"n":%d}' % transaction)


def require_exactly_once(dataset) -> None:
    delta = sorted((k, n) for n in range(1, TRANSACTIONS + 1) for k in range(n, n + KEYS))
    query = "SELECT id, CAST(JSON_VALUE(flow_document, '$.n') AS INT64) FROM `{d}.%s`"
    assert sorted(dataset.run(query % "standard")) == sorted(dict(delta).items())
    query = "SELECT id, CAST(TO_JSON_STRING(n) AS INT64) FROM `{d}.%s`"
    assert sorted(dataset.run(query % "delta")) == delta
    assert dataset.staged() == []


MOMENTS = {
    "keys were looked up": "materialize-bigquery.loaded=kill@2",
    "rows came": "materialize-bigquery.stored=kill@3",
    "rows are staged, nobody knows": "materialize-bigquery.staged=kill@2",
    "the state is on its way": "materialize.committed=kill@2",
    "it is to apply the first time": "materialize.apply_staged=kill",
    "one of two jobs is done": "materialize-bigquery.ran=kill",
    "jobs are done, tables are left": "materialize-bigquery.ran=kill@4",
    "all is done, the state isn't cleared": "materialize-bigquery.applied_all=kill@2",
    "the state is cleared, nobody is told": "materialize.acknowledged=kill@3",
}


@pytest.mark.crash
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
async def test_killed_anywhere_it_stores_everything_exactly_once(moment: str, dataset):
    recovery = Recovery()
    spec = await ready(dataset)
    with pytest.raises(Died, match="status -9"):
        await run(connector(moment), recovery, spec)
    await run(connector(), recovery, spec)
    require_exactly_once(dataset)


@pytest.mark.crash
@pytest.mark.parametrize("boundary", range(3, 21, 2))
async def test_killed_at_a_message_and_again_it_ends_where_it_would_have(boundary: int, dataset):
    """A part of what the contract asks of faster destinations."""
    late = boundary % 4 == 1
    assert not await survives(subject(dataset, hard_deletes=True), Crash(boundary, late))


@pytest.mark.crash
async def test_killed_again_while_it_recovers_it_stores_everything_exactly_once(dataset):
    recovery = Recovery()
    spec = await ready(dataset)
    for moment in ("job=kill@9", "ran=kill", "applied_all=kill"):
        with pytest.raises(Died, match="status -9"):
            await run(connector(f"materialize-bigquery.{moment}"), recovery, spec)
    await run(connector(), recovery, spec)
    require_exactly_once(dataset)


@pytest.mark.crash
async def test_killed_while_it_creates_tables_it_may_apply_again(dataset):
    runtime = MaterializeRuntime(lambda *streams: serve(materialization, *streams))
    spec = await runtime.build(encode_json(dataset.settings()), [model("a"), model("b")])
    killed = MaterializeRuntime(connector("materialize-bigquery.applying=kill").serve)
    with pytest.raises(Died, match="status -9"):
        await killed.apply(spec)
    await runtime.apply(spec)
    assert dataset.tables() == ["a", "b", "flow_applied_v1"]


def test_it_answers_by_hand_without_its_libraries():
    """A spec must not wait for the second that Google's libraries take."""
    code = (
        "import sys; from materialize_bigquery import materialization; "
        "from estuary_cdk.materialize.answers import specification; "
        "specification(materialization); "
        "sys.exit(any(name.split('.')[0] in ('google', 'pyarrow') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    asked = subprocess.run(COMMAND, input=b'{"spec":{}}\n', capture_output=True, check=True)
    assert asked.stderr == b""
    spec = msgspec.json.decode(asked.stdout)["spec"]
    required_settings = {"project_id", "region", "dataset", "credentials"}
    assert required_settings == set(spec["configSchema"]["required"])
    assert spec["resourceConfigSchema"]["required"] == ["table"]
