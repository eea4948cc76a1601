"""Streams are the same whether we read the socket or libpq does; failures come as the server's."""

import psycopg
import pytest

from estuary_cdk.errors import TransientError
from source_postgres import wire

FEEDS = [wire.SocketMessages, wire.LibpqMessages]


@pytest.fixture(params=FEEDS)
def feed(request):
    return request.param


def _drain(messages) -> None:
    while not messages.ended:
        messages.receive(0.1)


def everything(feed, connection, statement: str) -> bytes:
    return b"".join(wire.blocks(feed(connection.pgconn, statement.encode()), 10))


def test_a_copy_is_read_to_its_end_and_leaves_the_connection_usable(source, feed):
    connection = source.connection
    whole = everything(feed, connection, "copy (select generate_series(1, 50000)) to stdout")
    assert whole == b"".join(b"%d\n" % i for i in range(1, 50001))
    assert everything(feed, connection, "copy (select 1 where false) to stdout") == b""
    assert connection.execute("select 7").fetchall() == [(7,)]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("copy nowhere to stdout", psycopg.errors.UndefinedTable),
        ("copy (select 1 / (3 - x) from generate_series(1, 9) x) to stdout",
         psycopg.errors.DivisionByZero),
        ("copy (select 1 / (99999 - x) from generate_series(1, 100000) x) to stdout",
         psycopg.errors.DivisionByZero),
    ],
)  # fmt: skip
def test_what_the_server_reports_is_raised_and_the_connection_stays(source, feed, statement, error):
    for _ in range(3):
        with pytest.raises(error):
            everything(feed, source.connection, statement)
        assert source.connection.execute("select 7").fetchall() == [(7,)]


def test_a_connection_that_breaks_is_an_error(source, feed):
    with source.cluster_connection() as connection:
        messages = feed(
            connection.pgconn, b"copy (select generate_series(1, 1000000000)) to stdout"
        )
        source.run(f"select pg_terminate_backend({connection.info.backend_pid})")
        with pytest.raises(psycopg.Error):
            _drain(messages)


async def test_a_capture_through_libpq_is_the_same(source, monkeypatch):
    monkeypatch.setattr(wire, "SocketMessages", wire.LibpqMessages)
    source.run("create table t (id int primary key)", "insert into t values (1), (2)")
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("insert into t values (3)", "delete from t where id = 1")
    second = await source.caught_up(built, first.state)
    told = [(doc["_meta"]["op"], doc["id"]) for doc in first.of(0) + second.of(0)]
    assert told == [("c", 1), ("c", 2), ("c", 3), ("d", 1)]


async def test_a_walsender_that_is_ended_is_worth_another_try(source):
    source.run("create table t (id int primary key)")
    built = await source.runtime.build(source.config)

    def end(session) -> bool:
        if session.checkpoints == 2 and session.transcript[-1] == "Checkpoint":
            source.run(
                "select pg_terminate_backend(active_pid) from pg_replication_slots "
                f"where slot_name = 'slot_{source.name}'"
            )
        return False

    with pytest.raises((ExceptionGroup, TransientError)) as failed:
        await source.running(built, {}, end)
    assert "can't" in repr(failed.value)
