"""Tables are read in chunks side by side: every row once, in any number of sittings."""

from base64 import b64decode

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql_cdc import capturing
from estuary_cdk.kits.sql_cdc.resources import TableResource
from estuary_cdk.kits.sql_cdc.states import activated
from estuary_cdk.testing.runtime import after_checkpoints
from source_postgres import backfill, catalog, connecting
from source_postgres.column_types import BUILTIN
from source_postgres.config import Config
from source_postgres.keys import pack_key, packer_of


def with_mode(built, mode: str):
    [binding] = built.bindings
    resource = msgspec.json.decode(binding.resource_config) | {"mode": mode}
    changed = msgspec.structs.replace(
        binding, resource_config=msgspec.Raw(msgspec.json.encode(resource))
    )
    return msgspec.structs.replace(built, bindings=[changed])


async def sittings(source, built) -> list[dict]:
    """Capture with a kill after every few checkpoints."""
    state, documents = {}, []
    for _ in range(30):
        session = await source.caught_up(built, state, until=after_checkpoints(2), kill=True)
        state, documents = session.state, documents + session.of(0)
        if all(each["mode"] == "Active" for each in state.get("bindingStateV1", {}).values()):
            break
    return documents


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("mode", ["Precise", "Normal"])
@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ("a int, b text, primary key (a, b)", "select i % 7, 'x' || i"),
        ('"id" bigint primary key, "bound" text', "select (i * 7919) % 1000003, 'v'"),
        ("a uuid primary key, b bytea", "select md5(i::text)::uuid, ''"),
    ],
)
async def test_every_row_is_read_once(source, workers, mode, columns, rows):
    if mode == "Precise" and "a, b" in columns:
        columns = columns.replace("b text", 'b text collate "C"')
    source.run(
        f"create table t ({columns})", f"insert into t {rows} from generate_series(1, 460) i"
    )
    source.advanced["backfill_workers"] = workers
    source.advanced["backfill_chunk_size"] = 60
    built = with_mode(await source.runtime.build(source.config), mode)
    got = [{k: v for k, v in doc.items() if k != "_meta"} for doc in await sittings(source, built)]
    want = [
        msgspec.json.decode(text) for [text] in source.run("select row_to_json(t)::text from t")
    ]
    if "bytea" in columns:
        want = [row | {"b": ""} for row in want]
    assert sorted(got, key=msgspec.json.encode) == sorted(want, key=msgspec.json.encode)


@pytest.mark.parametrize("since", [backfill.TID_RANGES_SINCE, 10**9])
async def test_pages_are_read_side_by_side_whatever_the_server_can(source, monkeypatch, since):
    monkeypatch.setattr(backfill, "TID_RANGES_SINCE", since)
    source.run(
        "create table t (a int)",
        "alter table t replica identity full",
        "insert into t select generate_series(1, 5000)",
    )
    source.advanced["backfill_workers"] = 3
    built = await source.runtime.build(source.config)
    documents = await sittings(source, built)
    assert sorted(doc["a"] for doc in documents) == list(range(1, 5001))
    assert len({tuple(doc["_meta"]["source"]["loc"]) for doc in documents}) == 5000


async def test_tables_of_one_priority_are_read_side_by_side(source):
    for table in "abc":
        source.run(
            f"create table {table} (id int primary key)",
            f"insert into {table} select generate_series(1, 150)",
        )
    source.advanced["backfill_workers"] = 3
    built = await source.runtime.build(source.config)
    session = await source.caught_up(built)
    assert session.sizes == [0, 300, 150]


async def test_progress_is_told_in_rows_and_percent(source, monkeypatch, caplog):
    monkeypatch.setattr(capturing, "PROGRESS_S", 0.0)
    caplog.set_level("INFO")
    source.run(
        "create table t (id int primary key)",
        "insert into t select generate_series(1, 400)",
        "analyze t",
    )
    built = await source.runtime.build(source.config)
    await source.caught_up(built)
    told = [
        record.fields
        for record in caplog.records
        if record.msg == "%s" and (record.args == ("backfill progress",))
    ]
    assert [(each["rows"], each["percent"]) for each in told] == [(200, 50), (400, 99)]
    statuses = [record.getMessage() for record in caplog.records]
    assert "Backfilling Tables (backfilled 50% of 1 tables)" in statuses


async def test_a_scan_is_given_up_once_the_slot_is_gone(source, monkeypatch):
    monkeypatch.setattr(capturing, "WATCH_S", 0.05)
    source.run(
        "create table t (id int primary key)",
        "insert into t values (1)",
        "create function slow() returns boolean language sql volatile as "
        "'select pg_sleep(60) is not null'",
    )
    built = await source.runtime.build(source.config)
    resource = msgspec.json.decode(built.bindings[0].resource_config)
    resource |= {"mode": "Normal", "advanced": {"additional_backfill_filter": "slow()"}}
    binding = msgspec.structs.replace(
        built.bindings[0], resource_config=msgspec.Raw(msgspec.json.encode(resource))
    )
    built = msgspec.structs.replace(built, bindings=[binding])
    dropping = (
        "select pg_terminate_backend(active_pid), pg_sleep(0.1) from pg_replication_slots "
        f"where slot_name = 'slot_{source.name}'"
    )

    def drop(moment: str) -> None:
        if moment != "sql_cdc.before-chunk":
            return
        with source.cluster_connection() as connection:
            connection.execute(dropping.encode())
            connection.execute(f"select pg_drop_replication_slot('slot_{source.name}')".encode())

    monkeypatch.setattr(capturing, "failpoint", drop)
    with pytest.raises(ConfigError, match="can't resume"):
        await source.caught_up(built)
    [[running]] = source.run(
        "select count(*) from pg_stat_activity where query like 'copy%' and state = 'active'"
    )
    assert running == 0


async def test_a_chunk_that_runs_out_of_time_keeps_its_rows(source, monkeypatch):
    monkeypatch.setattr(connecting, "STATEMENT_TIMEOUT", "600ms")
    source.run(
        "create table t (id int primary key)",
        "insert into t select generate_series(1, 30)",
        "create function slow(id int) returns boolean language sql volatile as "
        "'select case when id % 10 = 0 then pg_sleep(0.4) is not null else true end'",
    )
    built = await source.runtime.build(source.config)
    resource = msgspec.json.decode(built.bindings[0].resource_config)
    resource |= {"mode": "Normal", "advanced": {"additional_backfill_filter": "slow(id)"}}
    binding = msgspec.structs.replace(
        built.bindings[0], resource_config=msgspec.Raw(msgspec.json.encode(resource))
    )
    built = msgspec.structs.replace(built, bindings=[binding])
    session = await source.caught_up(built)
    assert sorted({doc["id"] for doc in session.of(0)}) == list(range(1, 31))


KEYS = [
    ("text", "", "UnfilteredBackfill"),
    ("text", 'collate "C"', "Backfill"),
    ("varchar(30)", 'collate "POSIX"', "Backfill"),
    ("name", "", "Backfill"),
    ("time", "", "Backfill"),
    ("macaddr", "", "Backfill"),
    ("varbit", "", "Backfill"),
    ("numeric", "", "UnfilteredBackfill"),
    ("date", "", "UnfilteredBackfill"),
    ("char(3)", 'collate "C"', "UnfilteredBackfill"),
    ("timestamptz", "", "UnfilteredBackfill"),
]


def test_automatic_is_precise_where_keys_sort_by_their_bytes(any_source):
    any_source.run('create collation unpredictable (provider = libc, locale = "C.utf8")')
    for index, (kind, collated, _) in enumerate(KEYS):
        order = collated or ("collate unpredictable" if kind == "text" else "")
        any_source.run(f"create table t{index:02} (k {kind} {order} primary key)")
    tables = catalog.discover(any_source.connection, Config.model_validate(any_source.config))
    modes = [
        activated(TableResource(namespace="public", stream=table.id[1]), table, ["/k"]).mode
        for table in tables.values()
    ]
    assert list(zip(KEYS, modes, strict=True)) == [(key, key[2]) for key in KEYS]


SORTED = {
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=3),
    "varbit": st.text("01", max_size=12),
    "time": st.times().map(str),
    "macaddr": st.integers(0, 2**48 - 1).map(lambda number: f"{number:012x}"),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "bytea": st.binary(max_size=4).map(lambda data: "\\x" + data.hex()),
    "uuid": st.uuids().map(str),
    "boolean": st.booleans().map(str),
}


@pytest.mark.parametrize("kind", SORTED)
def test_keys_that_are_predictable_sort_as_the_server_sorts_them(source, kind):
    packer = packer_of(BUILTIN[{"bigint": "int8", "boolean": "bool"}.get(kind, kind)])
    collated = 'collate "C"' if kind == "text" else ""

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(SORTED[kind], min_size=1, max_size=60))
    def check(values) -> None:
        query = (
            f"select v::text shown from unnest(%s::text[]) u, lateral (select u::{kind} v) w "
            f"order by w.v {collated}"
        )
        rows = source.connection.execute(query.encode(), [values]).fetchall()
        texts = [{"true": "t", "false": "f"}.get(row[0], row[0]) for row in rows]
        keys = [pack_key([text.encode()], [packer]) for text in texts]
        assert keys == sorted(keys)

    check()


async def test_bytes_are_the_same_whatever_their_length_and_columns_are_called(source):
    source.run(
        'create table t ("encode" int primary key, "a%{}b" bytea, key bytea)',
        "insert into t select i, decode(repeat('ab', i), 'hex'), "
        "case when i % 2 = 0 then decode(repeat('0f', i), 'hex') end "
        "from generate_series(0, 250) i",
    )
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    documents = sorted(first.of(0), key=lambda each: each["encode"])
    for index, document in enumerate(documents):
        assert b64decode(document["a%{}b"], validate=True) == b"\xab" * index
        key = document["key"]
        assert (key and b64decode(key, validate=True)) == (
            (b"\x0f" * index or "") if index % 2 == 0 else None
        )
    assert len(documents) == 251
