"""Stores keep what every store promises."""

import pytest

from estuary_cdk.kits.files.local_store import LocalStore
from estuary_cdk.kits.files.memory_store import MemoryStore
from estuary_cdk.kits.files.store_contract import PROMISES, StoreSubject


def memory(_) -> StoreSubject:
    store = MemoryStore()

    async def put(path, content):
        store.put(path, content)

    async def remove(path):
        store.remove(path)

    return StoreSubject(store, put, remove)


def local(root) -> StoreSubject:
    async def put(path, content):
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = root.parent / "fresh"
        fresh.write_bytes(content)
        fresh.replace(place)

    async def remove(path):
        (root / path).unlink()

    return StoreSubject(LocalStore(root), put, remove)


@pytest.mark.parametrize("kind", [memory, local], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise, kind, tmp_path):
    root = tmp_path / "files"
    root.mkdir()
    await promise(kind(root))
