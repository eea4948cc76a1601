"""What a process beside reads is what the connector would have read, and nobody is orphaned."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import msgspec
import psutil
import psycopg
import pytest
import trustme
from readings import reader, readings
from source_databases import Source
from stress_processes import BIN, CONNECTOR, SmallRuntime, spelled

from estuary_cdk.errors import TransientError
from source_postgres import scanning

MANY = scanning.PROCESS_ROWS_MIN + 20_000
END_S = 30.0


@pytest.fixture
def beside(monkeypatch) -> list[int]:
    """Have what can be read by processes read by them, however small; lists what they read."""
    read: list[int] = []
    cut, scan = scanning.Scanners.chunks, scanning.Beside.scanned

    async def chunks(self, each, chunks_max):
        found = await cut(self, each, chunks_max)
        for process in self._beside:
            assert await process.starting
        return found

    def scanned(self, each):
        read.append(each.chunk.first_row)
        return scan(self, each)

    monkeypatch.setattr(scanning, "PROCESS_ROWS_MIN", -1)
    monkeypatch.setattr(scanning.os, "sched_getaffinity", lambda _: range(4))
    monkeypatch.setattr(scanning.Scanners, "chunks", chunks)
    monkeypatch.setattr(scanning.Beside, "scanned", scanned)
    return read


@pytest.mark.parametrize("columns", ["id int primary key", "id numeric primary key", "id int"])
async def test_rows_come_once_whoever_reads_them(source, beside, columns):
    source.run(
        f"create table t ({columns}, note text)",
        "alter table t replica identity full",
        "insert into t select i, 'row ' || i from generate_series(1, 2600) i",
    )
    source.advanced["backfill_workers"] = 3
    session = await source.caught_up(await source.runtime.build(source.config))
    assert len(beside) > 3
    assert sorted(int(doc["id"]) for doc in session.of(0)) == list(range(1, 2601))
    assert len({tuple(doc["_meta"]["source"]["loc"]) for doc in session.of(0)}) == 2600


async def test_small_tables_are_read_without_a_process(source, monkeypatch):
    started: list[object] = []
    monkeypatch.setattr(scanning.beside, "connected", started.append)
    source.run(
        "create table t (id int primary key)", "insert into t select generate_series(1, 500)"
    )
    session = await source.caught_up(await source.runtime.build(source.config))
    assert len(session.of(0)) == 500
    assert started == []


async def test_where_no_process_can_be_all_is_read_here(source, monkeypatch):
    monkeypatch.setattr(scanning, "PROCESS_ROWS_MIN", -1)
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    source.run(
        "create table t (id int primary key)", "insert into t select generate_series(1, 500)"
    )
    session = await source.caught_up(await source.runtime.build(source.config))
    assert len(session.of(0)) == 500


@pytest.fixture
def encrypted(source_15) -> Iterator[Source]:
    """A source that is reached by a name, with a certificate for it."""
    data = source_15.cluster.directory / "data"
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    for name, pem in (
        ("server.crt", issued.cert_chain_pems[0]),
        ("server.key", issued.private_key_pem),
    ):
        pem.write_to_path(data / name)
        shutil.chown(data / name, data.owner())
        (data / name).chmod(0o600)
    source_15.run("alter system set ssl = on", "select pg_reload_conf()")
    source_15.advanced |= {
        "sslmode": "verify-full",
        "ssl_server_ca": authority.cert_pem.bytes().decode(),
    }
    source_15.extra = {"address": source_15.cluster.address.replace("127.0.0.1", "localhost")}
    yield source_15
    source_15.run("alter system reset ssl", "select pg_reload_conf()")


async def test_a_process_verifies_the_server_as_the_connector_does(encrypted, beside):
    encrypted.run("create table t (id int primary key)")
    encrypted.run("insert into t select generate_series(1, 1000)")
    session = await encrypted.caught_up(await encrypted.runtime.build(encrypted.config))
    assert len(beside) > 3
    assert len(session.of(0)) == 1000


@pytest.fixture
def chunk(source):
    source.run("create table t (id int primary key)", "insert into t values (1)")
    [chunk] = readings(source)
    return chunk


def test_a_process_that_is_killed_is_a_reason_to_try_again(source, chunk):
    with reader(source) as process:
        assert [part.rows for part in process.scanned(chunk)] == [1]
        psutil.Process(process.pid).kill()
        with pytest.raises(TransientError, match="beside our own was killed by signal 9"):
            list(process.scanned(chunk))


def test_what_the_server_says_to_a_process_is_raised_here(source, chunk):
    source.run("drop table t")
    with reader(source) as process, pytest.raises(psycopg.errors.UndefinedTable) as raised:
        list(process.scanned(chunk))
    assert raised.value.sqlstate == "42P01"
    assert 'relation "public.t" does not exist' in str(raised.value)


def test_a_process_told_to_stop_leaves_nothing_running(source, chunk):
    slow = replace(chunk.chunk, statement="copy (select pg_sleep(60)) to stdout")
    with reader(source) as process:
        process.tell(replace(chunk, chunk=slow))
        sleeping = "query like 'copy (select pg_sleep%' and state = 'active'"
        until(source, 1, sleeping)
        process.stop()
        until(source, 0, sleeping)


def until(source, count: int, condition: str) -> None:
    """Wait until there are so many sessions of some kind."""
    source.run(
        "do $$ begin while (select count(*) from pg_stat_activity where pid <> pg_backend_pid() "
        f"and {condition}) <> {count} loop perform pg_sleep(0.01); "
        "perform pg_stat_clear_snapshot(); end loop; end $$"
    )


@pytest.fixture
async def large(source) -> SmallRuntime:
    """A table for which a process is started, captured by nobody yet."""
    source.run(
        "create table t (id int primary key, note text)",
        f"insert into t select i, repeat('x', 80) from generate_series(1, {MANY}) i",
        "analyze t",
    )
    source.advanced["backfill_chunk_size"] = 20_000
    return SmallRuntime(await source.runtime.build(source.config))


@contextmanager
def held(source, large, **environment: str) -> "Iterator[subprocess.Popen[bytes]]":
    """A connector in the middle of a backfill, with a process beside it that is connected."""
    with subprocess.Popen(
        [BIN / CONNECTOR],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
        start_new_session=True,
    ) as process:
        everything = {"keyEnd": 2**32 - 1, "rClockEnd": 2**32 - 1}
        opening = {"capture": spelled(large._built), "version": "1", "range": everything}
        assert process.stdin
        process.stdin.write(msgspec.json.encode({"open": opening}) + b"\n")
        process.stdin.flush()
        # It waits for us to read more than the pipe holds.
        until(source, 5, f"datname = '{source.name}'")
        yield process


def last_words(connector: "subprocess.Popen[bytes]") -> bytes:
    """Read all that a connector has to say, to nobody; return what it told people."""
    assert connector.stdout
    assert connector.stderr
    while connector.stdout.read(1 << 20):
        pass
    return connector.stderr.read()


@pytest.mark.crash
async def test_no_process_outlives_a_connector_that_is_killed(source, large):
    with held(source, large) as connector:
        [beside] = psutil.Process(connector.pid).children()
        connector.kill()
        assert psutil.wait_procs([beside], END_S) == ([beside], [])


@pytest.mark.crash
async def test_an_interrupt_from_the_terminal_ends_both_quietly(source, large):
    with held(source, large) as connector:
        [beside] = psutil.Process(connector.pid).children()
        os.killpg(connector.pid, signal.SIGINT)
        said = last_words(connector)
        assert psutil.wait_procs([beside], END_S) == ([beside], [])
    assert connector.wait(END_S) == 0
    assert {msgspec.json.decode(line)["level"] for line in said.splitlines()} <= {"info", "warn"}


@pytest.mark.crash
async def test_a_process_killed_in_the_middle_ends_the_connector_which_goes_on_later(source, large):
    with held(source, large, FAILPOINTS="reader.part=kill@2") as connector:
        said = last_words(connector)
    assert connector.wait(END_S) == 1
    last = msgspec.json.decode(said.splitlines()[-1])["message"]
    assert last.startswith("can't read rows: the process that does so beside")
    assert large.run() == 0
    assert len(large.documents[0]) == MANY
