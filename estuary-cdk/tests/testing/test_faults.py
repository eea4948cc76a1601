"""Faulty streams fail as they say."""

import pytest

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.faults import DropAfter, Duplicate, EndAfter, SlowReader, SlowWriter
from estuary_cdk.transport import pair


async def test_a_dropped_stream_ends_at_a_line_and_refuses_what_follows():
    _, stream = pair()
    writer = DropAfter(stream, 5)
    await writer.write(b"ab\ncd\nef\n")
    assert await stream.read() == b"ab\n"
    with pytest.raises(RemoteProtocolError):
        await writer.write(b"gh\n")


async def test_a_reader_ends_early():
    stream, _ = pair()
    await stream.write(b"a\n")
    await stream.write(b"b\n")
    reader = EndAfter(stream, 1)
    assert [await reader.read(), await reader.read()] == [b"a\n", b""]


async def test_a_block_comes_twice():
    stream, _ = pair()
    await stream.write(b"a\n")
    await stream.write(b"b\n")
    reader = Duplicate(stream, 0)
    assert [await reader.read() for _ in range(3)] == [b"a\n", b"a\n", b"b\n"]


async def test_slow_streams_take_time_and_lose_nothing():
    clock = FakeClock()
    stream, _ = pair()
    await SlowWriter(stream, clock, 2.0).write(b"a\n")
    assert await SlowReader(stream, clock, 3.0).read() == b"a\n"
    assert clock.elapsed == 5.0
