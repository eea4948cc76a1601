"""However the server is reached, and however often that fails: no change is lost, none made up."""

import random
import threading

import msgspec
import psycopg
import pytest

from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.testing.runtime import reduced
from estuary_cdk.testing.ssh import ssh
from estuary_cdk.testing.tcp_proxy import tcp_proxy

FAILURES_MAX = 200


def rows(source, table: str) -> dict[str, dict]:
    query = f"select row_to_json(t)::text from (select * from {table}) t"
    return {
        str(row["id"]): row for [text] in source.run(query) for row in [msgspec.json.decode(text)]
    }


def collected(documents, built) -> dict[str, dict]:
    [collection] = reduced(documents, built)
    return {str(row["id"]): row for row in collection.values()}


class Attempts:
    """Captures again and again, from what was committed, until a capture ends by itself."""

    def __init__(self, source, built) -> None:
        self.source, self.built = source, built
        self.state: dict = {}
        self.documents: list = []
        self.failures: list[Exception] = []

    async def one(self, **how):
        """Capture once; tell whether that ended well."""
        try:
            await self.source.caught_up(self.built, self.state, **how)
        except TransientError as error:
            self.failures.append(error)
            return False
        finally:
            session = self.source.runtime.sessions[-1]
            self.state = session.state
            self.documents += session.documents
        return True

    async def all(self) -> None:
        while not await self.one():
            assert len(self.failures) < FAILURES_MAX


class Writing:
    """Writes rows on a thread, until the block ends."""

    def __init__(self, source, seed: int) -> None:
        self._connect = source.cluster_connection
        self._chance = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        chance = self._chance
        with self._connect() as connection:
            while not self._stop.wait(0.01):
                row = chance.randrange(4000)
                connection.execute(
                    chance.choice(
                        [
                            b"insert into t values (%s, 1, 'new') on conflict do nothing",
                            b"update t set v = v + 1 where id %% 50 = %s %% 50",
                            b"delete from t where id = %s",
                        ]
                    ),
                    [row],
                )


@pytest.fixture
def bastion():
    with ssh() as server:
        yield server


def tunnelled(source, bastion):
    source.extra = {
        "networkTunnel": {
            "sshForwarding": {"sshEndpoint": bastion.endpoint, "privateKey": bastion.private_key}
        }
    }


async def test_a_database_behind_an_ssh_server_is_captured(any_source, bastion):
    source = any_source
    tunnelled(source, bastion)
    source.run(
        "create table t (id int primary key, v text)",
        "insert into t select i, repeat('x', 500) from generate_series(1, 2000) i",
    )
    source.advanced["backfill_chunk_size"] = 500
    built = await source.runtime.build(source.config)
    first = await source.caught_up(built)
    source.run("update t set v = 'changed' where id % 3 = 0", "delete from t where id = 7")
    second = await source.caught_up(built, first.state)
    assert collected(first.documents + second.documents, built) == rows(source, "t")
    assert {port for _, port in bastion.requested} == {source.cluster.port}


async def test_a_tunnel_lost_while_capturing_loses_nothing(source, bastion):
    tunnelled(source, bastion)
    source.run(
        "create table t (id int primary key, v int)",
        "insert into t select i, 0 from generate_series(1, 600) i",
    )
    built = await source.runtime.build(source.config)
    attempts = Attempts(source, built)
    seen = set()

    def drop(session) -> bool:
        if session.checkpoints in {2, 4} and session.checkpoints not in seen:
            seen.add(session.checkpoints)
            bastion.drop()
            source.run("update t set v = v + 1 where id % 5 = 0")
        return False

    assert not await attempts.one(until=drop)
    assert "SSH server" in str(attempts.failures[0])
    await attempts.all()
    assert collected(attempts.documents, built) == rows(source, "t")


async def test_an_ssh_server_that_refuses_is_the_reason_told(source, bastion):
    bastion.forwards = False
    tunnelled(source, bastion)
    with pytest.raises(ConfigError, match="AllowTcpForwarding yes"):
        await source.runtime.discover(source.config)


async def test_a_wrong_password_is_told_through_the_tunnel_too(source, bastion):
    tunnelled(source, bastion)
    source.extra["database"] = "nowhere"
    with pytest.raises(ConfigError, match="database 'nowhere' does not exist"):
        await source.runtime.discover(source.config)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mode", ["", "Normal"])
async def test_connections_cut_at_any_moment_lose_nothing(source, seed, mode):
    source.run(
        "create table t (id int primary key, v int, long text)",
        "insert into t select i, 0, repeat('x', 200) from generate_series(1, 2000) i",
    )
    built = await source.runtime.build(source.config)
    resource = msgspec.json.decode(built.bindings[0].resource_config) | {"mode": mode}
    binding = msgspec.structs.replace(
        built.bindings[0], resource_config=msgspec.Raw(msgspec.json.encode(resource))
    )
    host, _, port = source.cluster.address.partition(":")
    chance = random.Random(seed)
    with tcp_proxy(host, int(port)) as proxy:
        source.extra = {"address": proxy.address}
        built = msgspec.structs.replace(
            built, config=msgspec.Raw(msgspec.json.encode(source.config)), bindings=[binding]
        )
        attempts = Attempts(source, built)
        proxy.cuts = lambda: int(10 ** chance.uniform(2.5, 6.5))
        with Writing(source, seed):
            for _ in range(12):
                await attempts.one()
        proxy.cuts = lambda: None
        await attempts.all()
        assert len(attempts.failures) > 1
    assert collected(attempts.documents, built) == rows(source, "t")


async def test_a_slow_network_slows_a_capture_and_changes_nothing(source):
    source.run(
        "create table t (id int primary key, v int)",
        "insert into t select i, 0 from generate_series(1, 300) i",
    )
    host, _, port = source.cluster.address.partition(":")
    with tcp_proxy(host, int(port)) as proxy:
        proxy.delay_s = 0.01
        source.extra = {"address": proxy.address}
        built = await source.runtime.build(source.config)
        session = await source.caught_up(built)
    assert collected(session.documents, built) == rows(source, "t")
    assert len(session.of(0)) == 300


async def test_a_server_that_ends_the_stream_is_asked_again(source):
    source.run("create table t (id int primary key)")
    host, _, port = source.cluster.address.partition(":")
    with tcp_proxy(host, int(port)) as proxy:
        source.extra = {"address": proxy.address}
        built = await source.runtime.build(source.config)
        attempts = Attempts(source, built)
        await attempts.all()

        def half_close(session) -> bool:
            if session.checkpoints == 1:
                proxy.half_close()
                source.run("insert into t values (1) on conflict do nothing")
            return False

        assert not await attempts.one(until=half_close)
        await attempts.all()
    assert collected(attempts.documents, built) == {"1": {"id": 1}}


async def test_a_server_that_restarts_is_captured_on(source):
    source.run("create table t (id int primary key)", "insert into t values (1)")
    built = await source.runtime.build(source.config)
    attempts = Attempts(source, built)
    await attempts.all()
    source.run("insert into t values (2)")
    source.connection.close()
    source.cluster.stop(immediately=True)
    assert not await attempts.one()
    source.cluster.start()
    source.connection = psycopg.connect(
        source.cluster.conninfo, dbname=source.name, autocommit=True
    )
    await attempts.all()
    assert collected(attempts.documents, built) == rows(source, "t")


async def test_a_stream_that_falls_silent_is_given_up_to_be_tried_again(source):
    source.run(
        "create table t (id int primary key)",
        "insert into t values (1)",
        f"alter database {source.name} set wal_sender_timeout = '1s'",
    )
    built = await source.runtime.build(source.config)
    with tcp_proxy("127.0.0.1", source.cluster.port) as proxy:
        source.extra = {"address": proxy.address}

        def stall(session) -> bool:
            if any(b'"id":1' in raw for _, raw in session.documents):
                proxy.stall()
            return False

        through = await source.runtime.build(source.config)
        with pytest.raises((ExceptionGroup, TransientError)) as failed:
            await source.running(through, {}, stall)
    assert "the server has said nothing for" in repr(failed.value)
    attempts = Attempts(source, built)
    attempts.state = source.runtime.sessions[-1].state
    attempts.documents += source.runtime.sessions[-1].documents
    await attempts.all()
    assert collected(attempts.documents, built) == rows(source, "t")
