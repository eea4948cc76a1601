# ruff: noqa: PT012 - what fails is anywhere in a session
"""Options of endpoint and binding, each on a real server, by the protocol."""

import asyncio
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest

from estuary_cdk.errors import CdkError, ConfigError, TransientError
from estuary_cdk.materialize.runner import serve
from estuary_cdk.materialize.schedule import TRANSACTIONS_MIN
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.materialize_runtime import BindingModel, MaterializeRuntime
from estuary_cdk.testing.selection import collection, optional, required
from estuary_cdk.testing.ssh import ssh
from materialize_postgres import materialization

FIELDS = {"id": required("integer"), "v": optional("string")}


@pytest.fixture(scope="module")
def bastion():
    with ssh() as server:
        yield server


def runtime(clock: FakeClock | None = None) -> MaterializeRuntime:
    return MaterializeRuntime(lambda *streams: serve(materialization, *streams, clock=clock))


def model(**resource) -> BindingModel:
    return BindingModel(collection("acme/things", ["/id"], FIELDS), encode_json(resource))


def documents(*values: str) -> list[tuple[int, bytes]]:
    return [(0, encode_json({"id": key, "v": value})) for key, value in enumerate(values)]


def tunnelled(database, bastion, **more) -> bytes:
    forwarding = {"sshEndpoint": bastion.endpoint, "privateKey": bastion.private_key, **more}
    return encode_json(database.settings(networkTunnel={"sshForwarding": forwarding}))


def values(database) -> list[str]:
    return [value for (value,) in database.run("select v from t order by id")]


async def test_a_database_behind_an_ssh_server_is_written_to(any_database, bastion):
    database, asked = any_database, runtime()
    spec = await asked.build(tunnelled(database, bastion), [model(table="t")])
    await asked.apply(spec)
    async with asked.session(spec) as session:
        await session.bulk(documents("a", "b"), b'{"n":1}')
        await session.bulk(documents("a", "c", "x" * 1_000_000), b'{"n":2}')
    assert [value[:1] for value in values(database)] == ["a", "c", "x"]
    assert {port for _, port in bastion.requested} >= {database.cluster.port}


async def test_a_tunnel_lost_in_a_session_is_told_and_loses_nothing(database, bastion):
    asked = runtime()
    spec = await asked.build(tunnelled(database, bastion), [model(table="t")])
    await asked.apply(spec)
    with pytest.raises(BaseExceptionGroup) as raised:
        async with asked.session(spec) as session:
            await session.bulk(documents("a"), b'{"n":1}')
            bastion.drop()
            await session.bulk(documents("b", "c"), b'{"n":2}')
    assert raised.group_contains(TransientError, match="SSH server")
    async with asked.session(spec) as session:
        assert session.opened.runtime_checkpoint == msgspec.Raw(b'{"n":1}')
        await session.bulk(documents("b", "c"), b'{"n":2}')
    assert values(database) == ["b", "c"]


async def test_an_ssh_server_that_refuses_is_the_reason_told(database, bastion):
    bastion.forwards = False
    try:
        with pytest.raises(CdkError, match="SSH server"):
            await runtime().build(tunnelled(database, bastion), [model(table="t")])
    finally:
        bastion.forwards = True


@pytest.mark.parametrize("truncates", [False, True])
async def test_the_runtime_is_told_what_to_shorten(truncates, database):
    config = encode_json(database.settings(advanced={"truncateFields": truncates}))
    [binding] = (await runtime().validate(config, [model(table="t")])).bindings
    if truncates:
        policy = binding.ser_policy
        assert (policy.str_truncate_after, policy.array_truncate_after) == (65_536, 1000)
    else:
        assert binding.ser_policy is None


THEIRS = (
    "create table t (id bigint primary key, v varchar, mine int default 7)",
    "insert into t (id, v) values (0, 'theirs'), (9, 'kept')",
)


async def test_a_table_of_somebody_else_is_refused_unless_it_is_allowed(database):
    database.run(*THEIRS)
    config = encode_json(database.settings(advanced={"no_flow_document": True}))
    with pytest.raises(ConfigError, match="exists already and isn't ours"):
        await runtime().build(config, [model(table="t")])
    allowed = runtime()
    spec = await allowed.build(config, [model(table="t", allowExistingTable=True)])
    await allowed.apply(spec)
    async with allowed.session(spec) as session:
        assert session.opened.disable_load_optimization
        await session.bulk(documents("ours", "new"))
    assert database.run("select id, v, mine from t order by id") == [
        (0, "ours", 7), (1, "new", 7), (9, "kept", 7),
    ]  # fmt: skip


async def test_the_tables_are_updated_when_the_schedule_has_it(database):
    """The first transactions aren't held back; from then on one every half hour."""
    clock = FakeClock()
    asked = runtime(clock)
    config = encode_json(database.settings(syncSchedule={"syncFrequency": "30m"}))
    spec = await asked.build(config, [model(table="t")])
    await asked.apply(spec)
    instants = []
    async with asked.session(spec) as session:
        for number in range(TRANSACTIONS_MIN + 4):
            await session.bulk(documents(f"v{number}"), b'{"n":%d}' % number)
            instants.append(clock.now())
    gaps = [after - before for before, after in pairwise(instants)]
    assert gaps[: TRANSACTIONS_MIN - 2] == [timedelta(0)] * (TRANSACTIONS_MIN - 2)
    assert gaps[-2:] == [timedelta(minutes=30)] * 2
    assert values(database) == [f"v{TRANSACTIONS_MIN + 3}"]


async def test_names_that_are_too_long_stay_apart(any_database):
    """Names of more than 63 bytes that begin alike, cut in the middle of a character or not."""
    database = any_database
    fields = {"id": required("integer")}
    fields |= {f"{'é' * 31}{end}": optional("string") for end in ("éa", "éb", "", "x")}
    spec = collection("acme/things", ["/id"], fields)
    tables = [f"{'t' * 70}{end}" for end in "ab"]
    models = [BindingModel(spec, encode_json({"table": table})) for table in tables]
    built = await runtime().build(encode_json(database.settings()), models)
    await runtime().apply(built)
    assert not "".join(await runtime().apply(built))
    stored = {name: str(number) for number, name in enumerate(fields)} | {"id": 1}
    async with runtime().session(built) as session:
        for note in ("first", "then"):
            both = [
                (index, encode_json(stored | {"é" * 31: f"{note} {table}"}))
                for index, table in enumerate(tables)
            ]
            await session.bulk(both)
    names = "select relname::text from pg_class where relname ~ '^ttt' and relkind = 'r'"
    found = [name for (name,) in database.run(names)]
    assert len(found) == 2
    cells = [database.rows(name)[0] for name in found]
    assert all(len(cell) == len(fields) + 2 for cell in cells)
    assert {cell["é" * 31] for cell in cells} == {f"then {table}" for table in tables}
    assert {"1", "2", "4"} <= set(map(str, cells[0].values()))


async def test_two_bindings_go_to_schemas_of_their_own_and_one_appends(database):
    asked = runtime()
    config = encode_json(database.settings(schema="Home"))
    models = [model(table="t"), model(table="t", schema="select", delta_updates=True)]
    spec = await asked.build(config, models)
    await asked.apply(spec)
    async with asked.session(spec) as session:
        for value in "ab":
            both = [(binding, document) for binding in (0, 1) for _, document in documents(value)]
            await session.bulk(both)
    assert database.run('select v from "Home".t') == [("b",)]
    assert database.run('select v from "select".t order by v') == [("a",), ("b",)]


async def test_a_session_outlives_what_would_end_an_idle_one(database):
    """Between transactions of a schedule a session may be idle for hours."""
    if database.cluster.version < 14:
        pytest.skip("it has no such setting")
    database.run(f"""alter database "{database.name}" set idle_session_timeout = '50ms'""")
    asked = runtime()
    spec = await asked.build(encode_json(database.settings()), [model(table="t")])
    await asked.apply(spec)
    async with asked.session(spec) as session:
        await session.bulk(documents("a"))
        await asyncio.to_thread(database.run, "select pg_sleep(0.2) from generate_series(1, 1)")
        await session.bulk(documents("b"))
    assert values(database) == ["b"]
