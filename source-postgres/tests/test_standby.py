"""A standby is captured like a primary, and a capture of the primary goes on after a failover."""

import os
import threading
from collections.abc import Iterator

import msgspec
import psycopg
import pytest
from source_databases import Source

from estuary_cdk.errors import ConfigError
from estuary_cdk.testing.postgres import postgres, standby, versions
from estuary_cdk.testing.runtime import reduced

CAPABLE = [version for version in sorted(versions()) if version >= 16]
FAILING_OVER = [version for version in CAPABLE if version >= 17]


class Pair:
    """A primary with a database of a table, and its standby."""

    def __init__(self, primary, copy) -> None:
        self.primary, self.standby = primary, copy
        self.name = f"d{os.urandom(5).hex()}"
        primary.execute(f"create database {self.name}")
        self.run(
            "create table t (id int primary key, v int)",
            "insert into t select i, 0 from generate_series(1, 250) i",
            "create publication flow_publication for table t "
            "with (publish_via_partition_root = true)",
        )

    def run(self, *statements: str):
        return self.primary.execute(*statements, database=self.name)

    def caught_up(self) -> None:
        """Wait until the standby has replayed all that the primary wrote."""
        [(end,)] = self.run("select pg_current_wal_lsn()::text")
        while True:
            ask = f"select pg_last_wal_replay_lsn() >= '{end}'::pg_lsn"
            if self.standby.execute(ask) == [(True,)]:
                return

    def rows(self):
        return {str(row): {"id": row, "v": v} for row, v in self.run("select id, v from t")}


@pytest.fixture(params=CAPABLE, scope="module")
def pair(request) -> Iterator[Pair]:
    settings = {"hot_standby_feedback": "on"}
    with postgres(request.param) as primary, standby(primary, settings=settings) as copy:
        yield Pair(primary, copy)


@pytest.fixture
def nudged(pair) -> Iterator[None]:
    """A primary that isn't idle: what a standby's new slot waits for is written all the time."""
    stop = threading.Event()

    def nudge() -> None:
        with psycopg.connect(pair.primary.conninfo, autocommit=True) as connection:
            while not stop.wait(0.2):
                connection.execute(b"select pg_log_standby_snapshot()")

    thread = threading.Thread(target=nudge)
    thread.start()
    yield
    stop.set()
    thread.join()


def source_of(pair) -> Source:
    pair.caught_up()
    source = Source(pair.standby, pair.name)
    source.connection.close()
    return source


def collected(documents, built):
    [collection] = reduced(documents, built)
    return {str(row["id"]): row for row in collection.values()}


async def test_rows_and_changes_are_captured_from_a_standby(pair, nudged):
    source = source_of(pair)
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    assert collected(first.documents, built) == pair.rows()
    pair.run("update t set v = 1 where id = 5", "delete from t where id = 6")
    pair.caught_up()
    second = await source.caught_up(built, first.state)
    assert [doc["_meta"]["op"] for doc in second.of(0)] == ["u", "d"]
    assert collected(first.documents + second.documents, built) == pair.rows()


async def test_a_standby_is_told_to_hold_the_primary_back(pair):
    source = source_of(pair)
    pair.standby.execute("alter system set hot_standby_feedback = off", "select pg_reload_conf()")
    with pytest.raises(ConfigError) as refused:
        await source.runtime.discover(source.config)
    [problem] = refused.value.problems
    assert "on the standby" in problem.how
    pair.standby.execute(*problem.sql)
    await source.runtime.discover(source.config)


async def test_what_is_missing_on_the_primary_is_made_there(pair, nudged):
    source = source_of(pair)
    built = await source.runtime.build(source.config)
    pair.run("create table other (id int primary key)")
    pair.caught_up()
    with pytest.raises(ConfigError) as refused:
        await source.runtime.build(source.config)
    [problem] = refused.value.problems
    assert "run on the primary" in problem.how
    pair.run(*problem.sql)
    pair.caught_up()
    both = await source.runtime.build(source.config)
    assert len(both.bindings) == len(built.bindings) + 1
    pair.run("drop table other")
    source.advanced["publicationName"] = "absent"
    with pytest.raises(ConfigError, match="run on the primary as a superuser: CREATE PUBLICATION"):
        await source.runtime.discover(source.config)


class Followed:
    """A primary whose capture's slot its standby has taken over."""

    def __init__(self, pair, source) -> None:
        self.pair, self.source = pair, source
        self.documents: list = []
        self.state: dict = {}
        self.built = None

    async def capture(self):
        session = await self.source.caught_up(self.built, self.state)
        self.state = session.state
        self.documents += session.documents
        return session

    async def begin(self) -> None:
        pair = self.pair
        pair.standby.execute(
            f"alter system set primary_conninfo = '{pair.primary.conninfo}'",
            "select pg_reload_conf()",
        )
        self.built = await self.source.runtime.build(self.source.config)
        await self.capture()
        # The server's own worker takes the slot over once the standby has all that it needs.
        ready = "select count(*) from pg_replication_slots where synced and not temporary"
        for attempt in range(20):
            for change in range(3):
                pair.run(f"update t set v = {attempt + change} where id <= 5")
                pair.run("select pg_log_standby_snapshot()")
            pair.run(f"update t set v = {attempt} where id = 7")
            await self.capture()
            pair.caught_up()
            if pair.standby.execute(ready) == [(1,)]:
                return

    def fail_over(self) -> None:
        pair, source = self.pair, self.source
        source.connection.close()
        pair.primary.stop(immediately=True)
        pair.standby.promote()
        pair.primary = source.cluster = pair.standby
        config = msgspec.Raw(msgspec.json.encode(source.config))
        self.built = msgspec.structs.replace(self.built, config=config)


@pytest.fixture(params=FAILING_OVER)
async def followed(request):
    settings = {
        "hot_standby_feedback": "on",
        "primary_slot_name": "standby",
        "sync_replication_slots": "on",
    }
    with postgres(request.param) as primary, standby(primary, settings=settings) as copy:
        pair = Pair(primary, copy)
        followed = Followed(pair, Source(primary, pair.name))
        await followed.begin()
        yield followed


async def test_a_failover_takes_the_slot_along(followed):
    pair = followed.pair
    pair.run("update t set v = 2 where id <= 3")
    pair.caught_up()
    followed.fail_over()
    pair.run("update t set v = v + 10 where id = 1", "insert into t values (1000, 0)")
    for _ in range(2):
        session = await followed.capture()
        assert not [doc for doc in session.of(0) if doc["_meta"]["source"].get("snapshot")]
        assert collected(followed.documents, followed.built) == pair.rows()
        pair.run("update t set v = v + 1 where id = 2")


@pytest.mark.parametrize("choice", ["error", "backfill"])
async def test_a_failover_that_lost_captured_changes_is_no_silent_gap(followed, choice):
    pair = followed.pair
    # The standby hears no more of the primary, whose changes are captured all the same.
    pair.standby.execute("alter system set primary_conninfo = ''", "select pg_reload_conf()")
    receiving = "select count(*) from pg_stat_wal_receiver"
    while pair.standby.execute(receiving) != [(0,)]:
        pass
    pair.run("update t set v = 77 where id = 1")
    await followed.capture()
    followed.source.advanced["on_slot_loss"] = choice
    followed.fail_over()
    # Its log gets longer than the old one's: by its positions alone, nothing is missing.
    pair.run("insert into t select i, 1 from generate_series(2000, 4000) i")
    if choice == "error":
        with pytest.raises(ConfigError, match="was promoted at"):
            await followed.capture()
    else:
        session = await followed.capture()
        rows = pair.rows()
        assert collected(session.documents, followed.built) == rows
