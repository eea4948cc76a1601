"""Encoded bodies are undone whatever the blocks they come in, in blocks of bounded size."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import DataError, TransientError
from estuary_cdk.kits.http.encodings import BLOCK_BYTES_MAX, decoded


async def flowing(blocks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


async def content(blocks: Sequence[bytes], encoding: str) -> list[bytes]:
    return [block async for block in decoded(flowing(blocks), encoding, "here")]


def cut(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 400))
def test_blocks_and_members_do_not_matter(members: list[bytes], size: int) -> None:
    whole = b"".join(members)
    packed = {
        "gzip": b"".join(gzip.compress(member, mtime=0) for member in members),
        "X-GZIP": gzip.compress(whole, mtime=0),
        "deflate": zlib.compress(whole),
        "identity": whole,
        "": whole,
        "deflate, gzip": gzip.compress(zlib.compress(whole), mtime=0),
    }
    for encoding, body in packed.items():
        assert b"".join(asyncio.run(content(cut(body, size), encoding))) == whole


async def test_a_small_body_of_a_huge_content_comes_in_bounded_blocks() -> None:
    blocks = await content([gzip.compress(bytes(20_000_000), mtime=0)], "gzip")
    assert sum(map(len, blocks)) == 20_000_000
    assert max(map(len, blocks)) <= BLOCK_BYTES_MAX


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_an_early_end_is_noticed(encoding: str) -> None:
    body = gzip.compress(b"abc" * 99) if encoding == "gzip" else zlib.compress(b"abc" * 99)
    with pytest.raises(TransientError, match="ends too early"):
        await content([body[:-3]], encoding)


async def test_a_broken_body_is_noticed() -> None:
    with pytest.raises(DataError, match="compression is broken"):
        await content([b"not gzip at all"], "gzip")


async def test_an_encoding_that_was_not_asked_for_is_named() -> None:
    with pytest.raises(DataError, match="Content-Encoding 'br' was not asked for"):
        await content([b"x"], "br")
