"""Transactions that come before they are committed are captured once they are, and only then."""

import re

import pytest

from estuary_cdk.testing.runtime import after_checkpoints
from source_postgres import in_progress

ROWS = 6000
GONE = re.compile(rb'"op":"d".*"id":1499[,}]')


@pytest.fixture
def large(any_source, monkeypatch):
    """A source whose server sends transactions before they end, once they have 64 kB."""
    monkeypatch.setattr(in_progress, "MEMORY_BYTES_MAX", 50_000)
    monkeypatch.setattr(in_progress, "SLICE_BYTES", 100_000)
    any_source.run(
        "create table t (id int primary key, v text)", "insert into t values (0, 'first')"
    )
    limit = "logical_decoding_work_mem"
    # Before that it is a constant, and nothing is sent before it is committed.
    limited = any_source.cluster.version >= 13
    if limited:
        any_source.run(f"alter system set {limit} = '64kB'", "select pg_reload_conf()")
    yield any_source
    if limited:
        any_source.run(f"alter system reset {limit}", "select pg_reload_conf()")


def insert(first: int, count: int) -> bytes:
    return (
        f"insert into t select i, repeat('x', 60) || i from generate_series({first}, "
        f"{first + count - 1}) i"
    ).encode()


def table(source) -> dict[int, str]:
    return dict(source.run("select id, v from t"))


def folded(documents) -> dict[int, str]:
    rows: dict[int, str] = {}
    for document in documents:
        if document["_meta"]["op"] == "d":
            rows.pop(document["id"], None)
        else:
            rows[document["id"]] = document["v"]
    return rows


def write(source) -> None:
    """A large transaction with savepoints, some rolled back, beside small ones and a lost one."""
    with source.cluster_connection() as one, source.cluster_connection() as lost:
        with one.transaction():
            one.execute(insert(1000, ROWS))
            one.execute(b"savepoint a")
            one.execute(insert(100_000, ROWS))
            one.execute(b"savepoint b")
            one.execute(b"update t set v = 'gone' where id < 3000")
            one.execute(b"rollback to a")
            one.execute(b"update t set v = 'kept' where id = 0")
            source.run("insert into t values (1, 'beside')")
            lost.execute(b"begin")
            lost.execute(insert(200_000, ROWS))
            one.execute(b"savepoint c")
            one.execute(insert(300_000, ROWS))
            one.execute(b"release c")
            lost.execute(b"rollback")
            source.run("update t set v = 'beside too' where id = 1")
        source.run("delete from t where id < 1500")


async def test_what_was_rolled_back_is_never_told_and_all_else_is_in_order(large):
    built = await large.runtime.build(large.config)
    first = await large.caught_up(built)
    done = []

    def until(session) -> bool:
        if not done and session.transcript[-1:] == ["Checkpoint"]:
            done.append(True)
            write(large)
        at_checkpoint = session.transcript[-1:] == ["Checkpoint"]
        return at_checkpoint and any(GONE.search(raw) for _, raw in session.documents[-600:])

    second = await large.running(built, first.state, until)
    if large.cluster.version >= 14:
        [[streamed]] = large.run(
            "select stream_count from pg_stat_replication_slots "
            f"where slot_name = 'slot_{large.name}'"
        )
        assert streamed > 0
    told = second.of(0)
    assert folded(first.of(0) + told) == table(large)
    assert not {doc["id"] for doc in told} & set(range(100_000, 300_000))
    assert "gone" not in {doc.get("v") for doc in told}
    lsns = [doc["_meta"]["source"]["loc"][2] for doc in told]
    assert lsns == sorted(lsns)


async def test_a_capture_killed_inside_a_large_transaction_begins_it_again(large):
    built = await large.runtime.build(large.config)
    session = await large.caught_up(built)
    documents = session.of(0)
    with large.cluster_connection() as one, one.transaction():
        one.execute(insert(1000, ROWS))
        # Killed with the transaction under way, and again with a part of it written.
        broken = await large.caught_up(built, session.state, until=after_checkpoints(1), kill=True)
        documents += broken.of(0)
        one.execute(insert(50_000, ROWS))
    broken = await large.running(
        built, broken.state or session.state, lambda session: len(session.documents) > 100
    )
    documents += broken.of(0)
    last = await large.caught_up(built, broken.state or session.state)
    assert folded(documents + last.of(0)) == table(large)


def test_nothing_of_a_large_transaction_stays_in_memory(monkeypatch):
    sorter = in_progress.InProgress(0)
    piece = [
        in_progress.Struct(">cIB").pack(b"S", 7, 1),
        *[in_progress.Struct(">cI").pack(b"I", 7) + b"x" * 1000] * 2000,
        b"E",
    ]
    for _ in range(5):
        assert [len(some) for some in sorter.settled(piece)] == [0]
    [kept] = sorter._kept.values()
    assert kept.file._rolled
    done = in_progress.Struct(">cIBQQq").pack(b"c", 7, 0, 10, 11, 0)
    slices = list(sorter.settled([done]))
    assert max(sum(map(len, some)) for some in slices) < 1.1 * in_progress.SLICE_BYTES
    assert sum(map(len, slices)) == 10_000 + 2
    assert slices[1][0][:1] == b"B"
