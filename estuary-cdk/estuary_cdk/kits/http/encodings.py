"""Undoes `Content-Encoding` block by block; what was stored as `.gz` stays as it was stored."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from estuary_cdk.errors import DataError, TransientError

ACCEPTED = "gzip, deflate"
IDENTITY = "identity"
BLOCK_BYTES_MAX = 1024 * 1024

_GZIP = 16 + zlib.MAX_WBITS


async def decoded(blocks: AsyncIterator[bytes], encoding: str, place: str) -> AsyncGenerator[bytes]:
    """Yield the content of `blocks`, at most `BLOCK_BYTES_MAX` at a time.

    `encoding` is the header's value, "" for none. Raises DataError for an encoding nobody asked
    for or a broken stream and TransientError when the stream ends before its end.
    """
    stream: AsyncIterator[bytes] = blocks
    for name in reversed([part.strip().lower() for part in encoding.split(",")]):
        if name in {"gzip", "x-gzip"}:
            stream = _inflated(stream, lambda _: _GZIP, place)
        elif name == "deflate":
            stream = _inflated(stream, _deflate_format, place)
        elif name not in {"", IDENTITY}:
            raise DataError(f"can't read {place}: Content-Encoding {name!r} was not asked for")
    async for block in stream:
        yield block


def _deflate_format(start: bytes) -> int:
    # Servers send both: zlib's wrapper, as the standard says, and bare deflate.
    wrapped = start[0] & 0x0F == 8 and start[0] >> 4 <= 7
    return zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS


async def _inflated(
    blocks: AsyncIterator[bytes], form: Callable[[bytes], int], place: str
) -> AsyncGenerator[bytes]:
    inflater = None
    async for block in blocks:
        rest = block
        while rest:
            if inflater is None:
                inflater = zlib.decompressobj(form(rest))
            try:
                content = inflater.decompress(rest, BLOCK_BYTES_MAX)
            except zlib.error as error:
                raise DataError(f"can't read {place}: its compression is broken") from error
            if content:
                yield content
            rest = inflater.unconsumed_tail
            if inflater.eof:
                rest, inflater = inflater.unused_data, None  # another gzip member may follow
    if inflater is not None:
        if content := inflater.flush():
            yield content
        if not inflater.eof:
            raise TransientError(f"can't read {place}: its compressed content ends too early")
