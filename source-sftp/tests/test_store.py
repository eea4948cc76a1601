"""A directory of a server keeps what every store promises, though its clock has whole seconds."""

import os
from collections.abc import Iterator
from itertools import count

import pytest

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.files.store_contract import PROMISES, StoreSubject
from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.tcp_proxy import TcpProxy, tcp_proxy
from source_sftp.config import Config
from source_sftp.store import opened


@pytest.fixture
def config(task) -> Config:
    return Config.model_validate(task.config)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise, config, root, monkeypatch):
    monkeypatch.setattr("source_sftp.store.PAGE_FILES", 2)
    seconds = count(1_700_000_000)

    async def put(path, content):
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = root.parent / "fresh"
        fresh.write_bytes(content)
        os.utime(fresh, (now := next(seconds), now))
        fresh.replace(place)

    async def remove(path):
        (root / path).unlink()

    async with opened(config) as store:
        await promise(StoreSubject(store, put, remove))


async def test_a_file_that_changed_just_now_has_another_identity_once_that_is_past(config, root):
    (root / "f.csv").write_bytes(b"a\n1\n")
    clock = FakeClock()
    now = clock.now().timestamp()
    os.utime(root / "f.csv", (now, now))
    async with opened(config, clock) as store:
        fresh = await store.look("f.csv")
        clock.advance(1)
        assert await store.look("f.csv") == fresh
        assert await store.read(fresh, 0, 1) == b"a"
        clock.advance(5)
        settled = await store.look("f.csv")
    assert settled.identity != fresh.identity


@pytest.fixture
def network(server) -> Iterator[TcpProxy]:
    host, _, port = server.address.partition(":")
    with tcp_proxy(host, int(port)) as proxy:
        yield proxy


async def test_a_connection_that_was_lost_is_made_again(task, root, network):
    (root / "f.csv").write_bytes(b"a\n1\n")
    task.config["address"] = network.address
    async with opened(Config.model_validate(task.config), FakeClock()) as store:
        file = await store.look("f.csv")
        assert network.drop() > 0
        assert await store.read(file, 0, 4) == b"a\n1\n"


async def test_a_server_that_went_away_may_come_back(task, root, network):
    (root / "f.csv").write_bytes(b"a\n1\n")
    task.config["address"] = network.address
    async with opened(Config.model_validate(task.config), FakeClock()) as store:
        network.stop()
        with pytest.raises(TransientError, match="nothing answers at that port"):
            await store.look("f.csv")
        network.start()
        assert await store.look("f.csv") is not None
