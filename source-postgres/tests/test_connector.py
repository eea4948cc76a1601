"""Tables are captured: rows, then every change, wherever the capture was stopped."""

import msgspec
import pytest

from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.testing.runtime import after_checkpoints, reduced
from source_postgres import beside, catching_up, changes, opening, pgoutput, stream


def rows(source, table: str) -> dict[str, dict]:
    """The table as it is, in the JSON of the server's own making."""
    query = f"select row_to_json(t)::text from (select * from {table}) t"
    return {
        str(row["id"]): row for [text] in source.run(query) for row in [msgspec.json.decode(text)]
    }


def collected(session_documents, built) -> dict[str, dict]:
    [collection] = reduced(session_documents, built)
    return {str(row["id"]): row for row in collection.values()}


async def test_rows_and_then_changes_are_captured(any_source):
    any_source.run(
        "create table people (id int primary key, name text)",
        "insert into people select i, 'n' || i from generate_series(1, 250) i",
    )
    built = await any_source.runtime.build(any_source.config)
    first = await any_source.caught_up(built)
    assert first.ended
    assert collected(first.documents, built) == rows(any_source, "people")
    assert first.sizes == [0, 200, 50]
    any_source.run(
        "update people set name = 'changed' where id = 5",
        "delete from people where id = 6",
        "insert into people values (1000, E'tab\\tline\\nquote\" back\\\\')",
    )
    second = await any_source.caught_up(built, first.state)
    assert [doc["_meta"]["op"] for doc in second.of(0)] == ["u", "d", "c"]
    assert second.of(0)[1].keys() == {"_meta", "id"}
    assert collected(first.documents + second.documents, built) == rows(any_source, "people")


@pytest.mark.parametrize("kill", [False, True])
async def test_a_backfill_goes_on_where_it_was_stopped(source, kill):
    source.run(
        "create table t (id int primary key, v int)",
        "insert into t select i, 0 from generate_series(1, 450) i",
    )
    built = await source.runtime.build(source.config)
    state, documents = {}, []
    for round_ in range(4):
        session = await source.caught_up(built, state, until=after_checkpoints(2), kill=kill)
        state, documents = session.state, documents + session.documents
        source.run(
            f"update t set v = {round_ + 1} where id % 3 = {round_ % 3}",
            f"delete from t where id = {100 * round_ + 50}",
            f"insert into t values ({-round_ - 1}, 7), ({1000 + round_}, 8)",
        )
    session = await source.caught_up(built, state)
    assert collected(documents + session.documents, built) == rows(source, "t")


@pytest.mark.parametrize("mode", ["Normal", "Precise", "Only Changes", ""])
async def test_every_mode_converges_while_rows_are_written(source, mode):
    source.run(
        "create table t (id int primary key, v int)",
        "insert into t select i, 0 from generate_series(1, 350) i",
    )
    found = await source.runtime.discover(source.config)
    built = await source.runtime.build(source.config)
    resource = msgspec.json.decode(found[0].resource_config) | {"mode": mode}
    built = msgspec.structs.replace(
        built,
        bindings=[
            msgspec.structs.replace(
                built.bindings[0], resource_config=msgspec.Raw(msgspec.json.encode(resource))
            )
        ],
    )

    written = set()

    def write(session) -> bool:
        step = session.checkpoints
        if step not in written:
            written.add(step)
            source.run(
                f"update t set v = v + 1 where id % 7 = {step % 7}",
                f"insert into t values ({1000 + step}, 1)",
                f"update t set id = -{step} where id = (select max(id) from t)",
            )
        return step >= 4

    session = await source.caught_up(built, until=write)
    rest = await source.caught_up(built, session.state)
    got = collected(session.documents + rest.documents, built)
    want = rows(source, "t")
    if mode == "Only Changes":
        assert got.items() <= want.items()
    else:
        assert got == want


async def test_a_precise_backfill_tells_of_no_row_ahead_of_the_scan(source):
    source.run(
        "create table t (id int primary key, v int)",
        "insert into t select i, 0 from generate_series(1, 250) i",
    )
    built = await source.runtime.build(source.config)

    def write(session) -> bool:
        if session.checkpoints == 1 and session.transcript[-1] == "Checkpoint":
            source.run("update t set v = 1 where id = 240")
        return False

    session = await source.caught_up(built, until=write)
    told = [doc for doc in session.of(0) if doc["id"] == 240]
    assert [doc["v"] for doc in told][-1:] == [1]
    assert len([doc for doc in told if doc["_meta"]["source"].get("snapshot")]) == 1
    assert "snapshot" in told[0]["_meta"]["source"]


async def test_a_changed_key_is_a_deletion_and_a_creation(source):
    source.run("create table t (id int primary key, v int)", "insert into t values (1, 5)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("update t set id = 2")
    second = await source.caught_up(built, first.state)
    assert [(doc["_meta"]["op"], doc["id"]) for doc in second.of(0)] == [("d", 1), ("c", 2)]
    assert collected(first.documents + second.documents, built) == {"2": {"id": 2, "v": 5}}


async def test_unchanged_long_values_are_left_out_or_filled_from_the_old_row(source):
    source.run(
        "create table t (id int primary key, v int, long text)",
        "create table f (id int primary key, v int, long text)",
        "alter table f replica identity full",
    )
    for table in ("t", "f"):
        source.run(
            f"alter table {table} alter column long set storage external",
            f"insert into {table} values (1, 1, repeat('x', 5000))",
        )
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("update t set v = 2", "update f set v = 2")
    second = await source.caught_up(built, first.state)
    names = [binding.resource_path[1] for binding in built.bindings]
    [plain] = second.of(names.index("t"))
    [full] = second.of(names.index("f"))
    assert "long" not in plain
    assert full["long"] == "x" * 5000
    assert full["_meta"]["before"] == {"id": 1, "v": 1, "long": "x" * 5000}


async def test_a_table_without_a_key_is_captured_by_location(any_source):
    any_source.run(
        "create table log (at int, text text)",
        "alter table log replica identity full",
        "insert into log select i, 'x' from generate_series(1, 3000) i",
    )
    built = await any_source.runtime.build(any_source.config)
    assert built.bindings[0].collection.key == [f"/_meta/source/loc/{i}" for i in range(3)]
    first = await any_source.caught_up(built)
    assert sorted(doc["at"] for doc in first.of(0)) == list(range(1, 3001))
    assert len({tuple(doc["_meta"]["source"]["loc"]) for doc in first.of(0)}) == 3000
    any_source.run("insert into log values (9, 'y')", "delete from log where at = 9")
    second = await any_source.caught_up(built, first.state)
    assert [doc["_meta"]["op"] for doc in second.of(0)] == ["c", "d", "d"]
    assert len({tuple(doc["_meta"]["source"]["loc"]) for doc in second.of(0)}) == 3


async def test_hostile_names_are_captured(source):
    source.run(
        'create schema "Sch%d ""é"',
        'create table "Sch%d ""é"."T%s;--" ("Id""%b" int primary key, "ключ/~" text)',
        """insert into "Sch%d ""é"."T%s;--" values (1, '%d'), (2, null)""",
    )
    source.advanced["backfill_chunk_size"] = 1
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("""update "Sch%d ""é"."T%s;--" set "ключ/~" = 'z' where "Id""%b" = 2""")
    second = await source.caught_up(built, first.state)
    read = {(doc['Id"%b'], doc["ключ/~"]) for doc in first.of(0)}
    assert read == {(1, "%d"), (2, None)}
    assert [(doc['Id"%b'], doc["ключ/~"]) for doc in second.of(0)] == [(2, "z")]
    assert first.of(0)[0]["_meta"]["source"]["schema"] == 'Sch%d "é'


async def test_truncation_backfills_again_and_says_so(source, caplog):
    caplog.set_level("INFO")
    source.run("create table t (id int primary key)", "insert into t values (1)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("truncate t", "insert into t values (2)")
    second = await source.caught_up(built, first.state)
    snapshot = [doc["id"] for doc in second.of(0) if doc["_meta"]["source"].get("snapshot")]
    assert snapshot == [2]
    assert "a table was truncated: it is backfilled again" in caplog.messages
    assert "stay in the collection" in caplog.text


async def test_a_new_column_is_captured_at_once_and_told_of(source):
    source.run("create table t (id int primary key)", "insert into t values (1)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)

    def write(session) -> bool:
        if session.checkpoints == 1 and session.transcript[-1] == "Checkpoint":
            source.run("alter table t add column extra text", "insert into t values (2, 'new')")
        return any(b'"extra"' in schema for _, schema in session.schemas[1:])

    second = await source.running(built, first.state, write)
    assert next(doc for doc in second.of(0) if doc["id"] == 2)["extra"] == "new"


async def test_a_table_made_anew_is_backfilled(source):
    source.run("create table t (id int primary key, v int)", "insert into t values (1, 1)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run(
        "drop table t", "create table t (id int primary key, v int)", "insert into t values (3, 3)"
    )
    second = await source.caught_up(built, first.state)
    assert 3 in [doc["id"] for doc in second.of(0)]


async def test_a_binding_that_was_away_is_backfilled_when_it_is_back(source):
    source.run(
        "create table a (id int primary key)",
        "create table b (id int primary key)",
    )
    both = await source.runtime.build(source.config)
    first = await source.caught_up(both)
    only = msgspec.structs.replace(both, bindings=both.bindings[:1])
    without = await source.caught_up(only, first.state)
    source.run("insert into b values (1)")
    without = await source.caught_up(only, without.state)
    assert without.documents == []
    again = await source.caught_up(both, without.state)
    assert [doc["id"] for doc in again.of(1)] == [1]


PARTITIONED = (
    "create table p (id int primary key, v int) partition by range (id)",
    "create table p1 partition of p for values from (0) to (10)",
    "create table p2 partition of p for values from (10) to (20)",
    "insert into p values (1, 1), (11, 1)",
)


async def test_partitions_are_captured_as_tables_by_any_version(any_source):
    any_source.run(*PARTITIONED)
    any_source.advanced["capture_as_partitions"] = True
    built = await any_source.runtime.build(any_source.config)
    first = await any_source.caught_up(built)
    any_source.run("update p set v = 2")
    second = await any_source.caught_up(built, first.state)
    assert [binding.resource_path[1] for binding in built.bindings] == ["p1", "p2"]
    assert [[doc["v"] for doc in second.of(binding)] for binding in (0, 1)] == [[2], [2]]


async def test_a_root_that_the_server_cannot_publish_is_refused_with_its_remedy(any_source):
    any_source.run(*PARTITIONED)
    if any_source.cluster.version < 13:
        with pytest.raises(ConfigError, match=r"; set advanced\.capture_as_partitions to capture"):
            await any_source.runtime.build(any_source.config)
    else:
        await any_source.runtime.build(any_source.config)


async def test_partitions_are_captured_by_root_or_by_leaf(source):
    source.run(*PARTITIONED)
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("update p set v = 2")
    second = await source.caught_up(built, first.state)
    assert [binding.resource_path for binding in built.bindings] == [["public", "p"]]
    assert [(doc["id"], doc["v"]) for doc in first.of(0)] == [(1, 1), (11, 1)]
    assert sorted((doc["id"], doc["v"]) for doc in second.of(0)) == [(1, 2), (11, 2)]


async def test_priorities_are_backfilled_in_order(source):
    source.run(
        "create table a (id int primary key)",
        "create table b (id int primary key)",
        "insert into a select generate_series(1, 250)",
        "insert into b select generate_series(1, 250)",
    )
    built = await source.runtime.build(source.config)
    bindings = list(built.bindings)
    resource = msgspec.json.decode(bindings[1].resource_config) | {"priority": 3}
    bindings[1] = msgspec.structs.replace(
        bindings[1], resource_config=msgspec.Raw(msgspec.json.encode(resource))
    )
    session = await source.caught_up(msgspec.structs.replace(built, bindings=bindings))
    assert [index for index, _ in session.documents] == [1] * 250 + [0] * 250


async def test_a_checkpoint_of_the_incumbent_resumes(source):
    source.run("create table t (id int primary key)", "insert into t values (1)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    state = {
        "cursor": first.state["cursor"],
        "bindingStateV1": {
            "public%2Ft": {
                "mode": "Active",
                "key_columns": ["id"],
                "scanned": None,
                "metadata": None,
                "backfilled": 1,
            }
        },
    }
    source.run("insert into t values (2)")
    second = await source.caught_up(built, state)
    assert [doc["id"] for doc in second.of(0)] == [2]


async def test_an_idle_database_lets_the_slot_advance(source):
    source.run("create table t (id int primary key)", "create table other (id int)")
    source.run("create publication flow_publication for table t")
    source.extra = {"discoveryFilters": {}}
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("insert into other select generate_series(1, 10000)")
    second = await source.caught_up(built, first.state)
    [[confirmed]] = source.run(
        "select confirmed_flush_lsn >= '"
        + second.states[0]["cursor"]
        + f"' from pg_replication_slots where slot_name = 'slot_{source.name}'"
    )
    assert second.documents == []
    assert confirmed


async def test_wrong_filters_are_refused_by_name(source):
    source.advanced["rediscovery_interval"] = "5s"
    with pytest.raises(ConfigError, match="at least 1m"):
        await source.runtime.discover(source.config)


async def test_an_old_spec_is_accepted_as_it_is(source):
    source.run("create table t (id int primary key)", "insert into t values (1)")
    source.extra = {"password": "secret", "credentials": None}
    built = await source.runtime.build(source.config)
    resource = msgspec.json.decode(built.bindings[0].resource_config)
    old = msgspec.Raw(msgspec.json.encode(resource | {"primary_key": ["id"], "syncMode": ""}))
    binding = msgspec.structs.replace(built.bindings[0], resource_config=old)
    session = await source.caught_up(msgspec.structs.replace(built, bindings=[binding]))
    assert [doc["id"] for doc in session.of(0)] == [1]


async def test_a_backlog_is_caught_up_with_and_then_streamed(any_source, monkeypatch):
    any_source.run("create table t (id int primary key, v text)", "insert into t values (0, 'a')")
    built = await any_source.runtime.build(any_source.config)
    first = await any_source.caught_up(built)
    any_source.run(
        "insert into t select i, repeat('x', 200) from generate_series(1, 5000) i",
        "update t set v = 'y' where id % 2 = 0",
        "delete from t where id % 3 = 0",
    )
    monkeypatch.setattr(opening, "CATCH_UP_BYTES_MIN", 1)
    monkeypatch.setattr(catching_up, "CHANGES_FIRST", 3)
    second = await any_source.caught_up(built, first.state)
    documents = first.documents + second.documents
    assert len(second.documents) == 5000 + 2501 + 1667
    assert collected(documents, built) == rows(any_source, "t")


@pytest.fixture
def helped(monkeypatch) -> None:
    """Have backlogs decoded with a process's help, however small."""
    monkeypatch.setattr(opening, "CATCH_UP_BYTES_MIN", 1)
    monkeypatch.setattr(opening, "HELPED_BYTES_MIN", 1)
    monkeypatch.setattr(stream.os, "sched_getaffinity", lambda _: range(3))
    monkeypatch.setattr(pgoutput, "DECODE_BYTES", 1000)
    monkeypatch.setattr(changes, "SHARED_MIN", 1)
    monkeypatch.setattr(changes, "ASKED_TASKS", 1)
    launch = beside.launched

    def launched() -> beside.ReaderProcess:
        process = launch()
        process._ready = process.answer()
        return process

    monkeypatch.setattr(beside, "launched", launched)


async def test_a_backlog_is_decoded_by_two_processes(source, helped):
    source.run(
        "create table t (id int primary key, v text)",
        "alter table t alter v set storage external",
        "insert into t select i, repeat('x', 4000) from generate_series(1, 40) i",
    )
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run(
        "insert into t select i, repeat('x', 200) from generate_series(41, 4000) i",
        "update t set id = -id where id % 3 = 0",
        "delete from t where id % 5 = 0",
    )
    second = await source.caught_up(built, first.state)
    assert collected(first.documents + second.documents, built) == rows(source, "t")


async def test_a_helper_that_is_killed_ends_the_capture_which_goes_on_later(
    source, helped, monkeypatch
):
    source.run("create table t (id int primary key)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    for start in range(0, 300, 100):
        source.run(f"insert into t select generate_series({start}, {start + 99})")
    monkeypatch.setenv("FAILPOINTS", "reader.changes=kill")
    with pytest.raises(TransientError, match=r"that does so beside .* killed by signal 9"):
        await source.caught_up(built, first.state)
    monkeypatch.delenv("FAILPOINTS")
    second = await source.caught_up(built, first.state)
    assert [doc["id"] for doc in second.of(0)] == list(range(300))


async def test_a_backlog_is_one_part_where_the_slot_cannot_be_copied(source, monkeypatch):
    source.run("create table t (id int primary key)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("insert into t select generate_series(1, 50)", "delete from t where id < 9")
    monkeypatch.setattr(opening, "CATCH_UP_BYTES_MIN", 1)
    monkeypatch.setattr(catching_up, "_COPIED", b"select 1 / (%s = %s)::int")
    second = await source.caught_up(built, first.state)
    assert [doc["id"] for doc in second.of(0)] == [*range(1, 51), *range(1, 9)]


async def test_a_backlog_broken_off_resumes_without_a_gap(source, monkeypatch):
    source.run("create table t (id int primary key)")
    built = await source.runtime.build(source.config)
    session = await source.caught_up(built)
    for start in range(0, 3000, 50):
        source.run(f"insert into t select generate_series({start}, {start + 49})")
    monkeypatch.setattr(opening, "CATCH_UP_BYTES_MIN", 1)
    monkeypatch.setattr(stream, "BATCH_BYTES", 2000)
    seen = []
    for _ in range(4):
        session = await source.caught_up(
            built, session.state, until=after_checkpoints(3), kill=True
        )
        seen += [doc["id"] for doc in session.of(0)]
    seen += [doc["id"] for doc in (await source.caught_up(built, session.state)).of(0)]
    assert seen == list(range(3000))


async def test_a_row_with_another_key_keeps_its_long_values(source):
    source.run(
        "create table t (id int primary key, long text)",
        "alter table t alter column long set storage external",
        "insert into t values (1, repeat('x', 5000)), (2, repeat('y', 5000))",
    )
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("update t set id = id + 10", "update t set id = 20 where id = 11")
    second = await source.caught_up(built, first.state)
    got = collected(first.documents + second.documents, built)
    assert got == {
        "12": {"id": 12, "long": "y" * 5000},
        "20": {"id": 20, "long": "x" * 5000},
    }
