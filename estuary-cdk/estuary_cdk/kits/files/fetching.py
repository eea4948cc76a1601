"""The records of a stored file, in whichever of two ways its format is read.

From front to back, every byte passes by: its hash proves, when a read that was cut off begins
again, that it is the same file. By seeking, only the store can prove that, and does: every range
comes from the one version that was listed. What is hashed then is that version's identity.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from typing import BinaryIO, Final, cast
from weakref import WeakKeyDictionary

from estuary_cdk.kits.files import stores
from estuary_cdk.kits.files.detection import HEAD_BYTES
from estuary_cdk.kits.files.ranged import RangedFile, ranged
from estuary_cdk.kits.files.reading import FileReader, Records
from estuary_cdk.kits.files.stores import Ranges, Store, StoredFile

SEEKING_AT_ONCE: Final = 2  # each takes tens of mebibytes
_PLACES: WeakKeyDictionary[Ranges, asyncio.Semaphore] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Stretch:
    """What identifies the next stretch of a file, then the records that it completes.

    `records` are to be taken, once, after `proof` was looked at; `last` at the end of the file.
    """

    proof: bytes
    records: Iterable[Records]
    last: bool = False


async def stretches(blocks: AsyncIterable[bytes], reader: FileReader) -> AsyncGenerator[Stretch]:
    """Yield the stretches of a file that comes in blocks."""
    async for block in blocks:
        yield Stretch(block, reader.feed(block))
    yield Stretch(b"", reader.finish(), last=True)


async def contents(store: Store, file: StoredFile, reader: FileReader) -> AsyncGenerator[Stretch]:
    """Yield the stretches of a stored file, read by seeking where its format wants that.

    Small files are fetched whole in any case. Empty ones have no range to be fetched, and
    no records whatever they are said to be.
    """
    if not file.size:
        yield Stretch(b"", (), last=True)
        return
    if file.size > stores.RANGE_BYTES and reader.may_seek:
        head = await store.read(file, 0, HEAD_BYTES)
        if reader.seeks(head):
            async with aclosing(sought(store, file, reader, head)) as found:
                async for stretch in found:
                    yield stretch
            return
    async with (
        aclosing(stores.blocks(store, file)) as blocks,
        aclosing(stretches(blocks, reader)) as found,
    ):
        async for stretch in found:
            yield stretch


async def sought(
    store: Ranges, file: StoredFile, reader: FileReader, head: bytes
) -> AsyncGenerator[Stretch]:
    """Yield the stretches of a file that begins with `head`, which its reader `seeks`."""
    yield Stretch(file.identity.encode(), ())
    places = _PLACES.setdefault(store, asyncio.Semaphore(SEEKING_AT_ONCE))
    async with places, aclosing(_rows(store, file, reader, head)) as found:
        async for stretch in found:
            yield stretch
    yield Stretch(b"", (), last=True)


async def _rows(
    store: Ranges, file: StoredFile, reader: FileReader, head: bytes
) -> AsyncGenerator[Stretch]:
    loop = asyncio.get_running_loop()
    # A thread of its own: stores may use those that all share, and this one waits for the store.
    with ranged(store, file) as content, ThreadPoolExecutor(1, "file") as thread:
        rows = reader.rows(head, cast("BinaryIO", content))
        ahead = loop.run_in_executor(thread, _next, rows, content)
        try:
            while (records := await asyncio.shield(ahead)) is not None:
                ahead = loop.run_in_executor(thread, _next, rows, content)
                yield Stretch(b"", (records,))
        finally:
            # The thread has to be done with the file before the caller goes on.
            content.abandon()
            await asyncio.wait([ahead])
            if not ahead.cancelled():
                ahead.exception()


def _next(rows: Iterator[Records], content: RangedFile) -> Records | None:
    try:
        return next(rows, None)
    except Exception as error:
        if content.failure is not None and content.failure is not error:
            raise content.failure from error
        raise
