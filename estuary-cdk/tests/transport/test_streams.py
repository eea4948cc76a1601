"""Lines through pipes, files and memory: the same bytes in the same order, in whole lines."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.testing.patience import HANGS_S
from estuary_cdk.transport import FdReader, FdWriter, Thread, pair

lines = st.lists(st.binary(max_size=200).map(lambda b: b.replace(b"\n", b"") + b"\n"), max_size=20)


async def everything(reader) -> list[bytes]:
    blocks = []
    while block := await reader.read():
        blocks.append(block)
    return blocks


@given(lines, st.integers(1, 50))
@settings(max_examples=40, deadline=None)
def test_a_pipe_hands_over_whole_lines_in_order(sent, cut) -> None:
    async def scenario() -> list[bytes]:
        source, sink = os.pipe()
        reader, writer = FdReader(source), FdWriter(sink)
        text = b"".join(sent)

        async def write() -> None:
            for start in range(0, len(text), cut):
                await writer.write(text[start : start + cut])
            await writer.close()

        _, blocks = await asyncio.gather(write(), everything(reader))
        os.close(source)
        return blocks

    blocks = asyncio.run(scenario())
    assert b"".join(blocks) == b"".join(sent)
    assert all(block.endswith(b"\n") for block in blocks)


async def test_a_file_reads_like_a_pipe() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"a\n" * 700_000 + b"b\n")
        file.flush()
        file.seek(0)
        blocks = await everything(FdReader(os.dup(file.fileno())))
    assert b"".join(blocks) == b"a\n" * 700_000 + b"b\n"
    assert len(blocks) > 1


async def test_a_line_longer_than_any_block_arrives_whole() -> None:
    source, sink = os.pipe()
    line = b"x" * 5_000_000 + b"\n"
    writer = FdWriter(sink)
    written = asyncio.ensure_future(writer.write(line))
    assert await FdReader(source).read() == line
    await written
    await writer.close()
    os.close(source)


async def test_a_line_longer_than_the_limit_is_refused() -> None:
    source, sink = os.pipe()
    os.write(sink, b"x" * 2000)
    with pytest.raises(RemoteProtocolError, match="more than 1000 bytes"):
        await FdReader(source, line_bytes_max=1000).read()
    os.close(source)
    os.close(sink)


async def test_a_last_line_without_its_break_is_refused() -> None:
    source, sink = os.pipe()
    os.write(sink, b'{"a":1}\n{"b')
    os.close(sink)
    reader = FdReader(source)
    assert await reader.read() == b'{"a":1}\n'
    with pytest.raises(RemoteProtocolError, match="before its line break"):
        await reader.read()
    os.close(source)


async def test_a_cancelled_read_loses_nothing() -> None:
    source, sink = os.pipe()
    reader = FdReader(source)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(), 0.01)
    os.write(sink, b"late\n")
    assert await reader.read() == b"late\n"
    os.close(sink)
    os.close(source)


async def test_a_reader_that_went_away_is_told_to_the_writer() -> None:
    source, sink = os.pipe()
    os.close(source)
    writer = FdWriter(sink)
    await writer.write(b"x\n")
    with pytest.raises(RemoteProtocolError, match="closed the stream"):
        await writer.flush()
    await writer.close()


@given(lines)
def test_memory_hands_over_what_was_written(sent) -> None:
    async def scenario() -> list[bytes]:
        stream, _ = pair()

        async def write() -> None:
            for line in sent:
                await stream.write(line)
            await stream.close()

        _, blocks = await asyncio.gather(write(), everything(stream))
        return blocks

    assert b"".join(asyncio.run(scenario())) == b"".join(sent)


async def test_a_broken_stream_ends_at_once() -> None:
    stream, _ = pair()
    await stream.write(b"never read\n")
    stream.break_off()
    assert await stream.read() == b""
    with pytest.raises(RemoteProtocolError):
        await stream.write(b"x\n")


async def test_a_thread_makes_calls_in_order_and_passes_errors_on() -> None:
    thread = Thread("test")
    made: list[int] = []
    futures = [thread.submit(lambda n=n: made.append(n)) for n in range(100)]
    with pytest.raises(ZeroDivisionError):
        await thread.run(lambda: 1 // 0)
    assert all(future.done() for future in futures)
    assert made == list(range(100))
    thread.stop()


CLAIMING = """
import asyncio, sys
from estuary_cdk.transport import claim_stdio
async def main():
    reader, writer = claim_stdio()
    print("to people")
    block = await reader.read()
    await writer.write(block.upper())
    await writer.close()
asyncio.run(main())
"""


def test_claimed_stdout_carries_the_protocol_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLAIMING], input=b"a\n", capture_output=True, check=True
    )
    assert done.stdout == b"A\n"
    assert done.stderr == b"to people\n"


def test_a_process_can_end_while_it_waits_for_input() -> None:
    waiting = """
import asyncio
from estuary_cdk.transport import claim_stdio
async def main():
    reader, _ = claim_stdio()
    try:
        await asyncio.wait_for(reader.read(), 0.05)
    except TimeoutError:
        pass
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", waiting], stdin=subprocess.PIPE) as process:
        try:
            assert process.wait(timeout=HANGS_S) == 0
        finally:
            process.send_signal(signal.SIGKILL)
