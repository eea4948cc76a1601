"""What every store of files promises, as functions over a store and a way to change its files.

@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise, subject): await promise(subject)
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from estuary_cdk.kits.files.stores import FileChanged, Store, StoredFile, blocks


@dataclass(frozen=True, slots=True)
class StoreSubject:
    """A store that is empty, and what puts a file into it and removes one."""

    store: Store
    put: Callable[[str, bytes], Awaitable[None]]
    remove: Callable[[str], Awaitable[None]]

    async def listed(self, prefix: str = "", after: str = "") -> list[StoredFile]:
        """Return the whole listing."""
        return [file async for page in self.store.pages(prefix, after) for file in page]

    async def only(self, path: str) -> StoredFile:
        """Return the one listed file with this path."""
        [file] = [file for file in await self.listed() if file.path == path]
        return file


Promise = Callable[[StoreSubject], Awaitable[None]]

PATHS: Final = ("a-b.csv", "a/b.csv", "a/c/d e+%20&.csv", "ab.csv", "b/ü.csv", "z")


async def files_are_listed_in_order_of_their_bytes(subject: StoreSubject) -> None:
    """Every file is listed once, by its path, with its size; `after` and `prefix` narrow it."""
    for path in PATHS:
        await subject.put(path, path.encode())
    paths = sorted(PATHS, key=str.encode)
    found = await subject.listed()
    assert [file.path for file in found] == paths
    assert [file.size for file in found] == [len(path.encode()) for path in paths]
    assert all(file.modified.utcoffset() == timedelta(0) for file in found)
    assert [file.path for file in await subject.listed("a/")] == ["a/b.csv", "a/c/d e+%20&.csv"]
    assert [file.path for file in await subject.listed(after="a/b.csv")] == paths[2:]
    assert await subject.listed("nothing/") == []


async def any_range_can_be_read(subject: StoreSubject) -> None:
    """Ranges come exactly, and the content in order."""
    content = bytes(range(256)) * 5
    await subject.put("f.bin", content)
    file = await subject.only("f.bin")
    assert await subject.store.read(file, 0, 1) == content[:1]
    assert await subject.store.read(file, 100, 300) == content[100:400]
    assert await subject.store.read(file, len(content) - 1, 1) == content[-1:]
    whole = [block async for block in blocks(subject.store, file, range_bytes=100)]
    assert b"".join(whole) == content


async def a_new_version_has_another_identity(subject: StoreSubject) -> None:
    """The same version has the same identity, listed or looked at; another content another."""
    await subject.put("f.csv", b"one")
    first = await subject.only("f.csv")
    looked = await subject.store.look("f.csv")
    assert looked is not None
    assert (looked.identity, looked.size) == (first.identity, first.size)
    await subject.put("f.csv", b"two")
    assert (await subject.only("f.csv")).identity != first.identity


async def a_version_that_is_gone_is_not_read(subject: StoreSubject) -> None:
    """Neither the next version nor nothing is handed over for it."""
    await subject.put("f.csv", b"one")
    first = await subject.only("f.csv")
    await subject.put("f.csv", b"two")
    await _changed(subject, first)
    second = await subject.only("f.csv")
    await subject.remove("f.csv")
    await _changed(subject, second)
    assert await subject.store.look("f.csv") is None


async def _changed(subject: StoreSubject, file: StoredFile) -> None:
    data = None
    with suppress(FileChanged):
        data = await subject.store.read(file, 0, 3)
    assert data is None, "a version that is gone was read"


PROMISES: Final[tuple[Promise, ...]] = (
    files_are_listed_in_order_of_their_bytes,
    any_range_can_be_read,
    a_new_version_has_another_identity,
    a_version_that_is_gone_is_not_read,
)
