"""A stream's file, read by ranges where its format is read by seeking and its server lets it.

That takes a validator that proves every range to be of one version, as for broken downloads, and a
server that answers a range with just that. Else the file comes from front to back.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.files import FileChanged, FileReader, StoredFile, stores, stretches
from estuary_cdk.kits.files.detection import HEAD_BYTES
from estuary_cdk.kits.files.fetching import Stretch, sought
from estuary_cdk.kits.http import Client, Download
from estuary_cdk.kits.http.conditions import content_range, resume_condition
from source_http.access import file_name
from source_http.config import Stream

ATTEMPTS_MAX: Final = 4
PARTIAL: Final = 206
REFUSED: Final = frozenset({412, 416})
UNKNOWN: Final = datetime.fromtimestamp(0, UTC)


class ServedFile:
    """The bytes of one version of a stream's file, asked for by ranges."""

    def __init__(self, connected: Client, stream: Stream) -> None:
        self._connected = connected
        self._stream = stream

    async def read(self, file: StoredFile, start: int, size: int) -> bytes:
        """Read a range as `Ranges` says, once more where an answer breaks off."""
        for attempt in range(1, ATTEMPTS_MAX):
            try:
                return await self._read(file, start, size)
            except FileChanged:
                raise
            except TransientError:
                await self._connected.exchanges.paused(attempt)
        return await self._read(file, start, size)

    async def _read(self, file: StoredFile, start: int, size: int) -> bytes:
        headers = {"Range": f"bytes={start}-{start + size - 1}", "If-Range": file.identity}
        url = self._stream.url
        data = bytearray()
        async with self._connected.stream(url, headers=headers, accept=REFUSED) as answer:
            part = content_range(answer.headers)
            if answer.status != PARTIAL or part is None or part.start != start:
                raise FileChanged(f"can't read {file.path!r}: it is no longer what it was")
            async for block in answer.blocks:
                data += block
                if len(data) >= size:
                    break
        if len(data) < size:
            raise TransientError(f"can't read {file.path!r}: {len(data)} of {size} bytes came")
        return bytes(data[:size])


async def contents(
    connected: Client, stream: Stream, file: Download, reader: FileReader
) -> AsyncGenerator[Stretch]:
    """Yield the stretches of a file that was just opened, which isn't to be read otherwise."""
    served = ServedFile(connected, stream)
    stored = _stored(stream, file)
    head = await _head(served, stored, reader)
    if stored is None or not head:
        content = stretches(file.blocks, reader)
    else:
        await file.abandon()
        content = sought(served, stored, reader, head)
    async with aclosing(content):
        async for stretch in content:
            yield stretch


def _stored(stream: Stream, file: Download) -> StoredFile | None:
    """Return the file as one to ask ranges of; None where nothing proves what they are of."""
    condition = resume_condition(file.headers)
    encoded = file.headers.get("Content-Encoding", "identity") != "identity"
    refused = file.headers.get("Accept-Ranges", "bytes") != "bytes"
    if condition is None or file.bytes_total is None or encoded or refused:
        return None
    return StoredFile(file_name(stream), file.bytes_total, condition, UNKNOWN)


async def _head(served: ServedFile, stored: StoredFile | None, reader: FileReader) -> bytes:
    """Return the first bytes of a file that is to be read by ranges; none for any other."""
    if stored is None or stored.size <= stores.RANGE_BYTES or not reader.may_seek:
        return b""
    try:
        head = await served.read(stored, 0, HEAD_BYTES)
    except FileChanged:
        return b""
    return head if reader.seeks(head) else b""
