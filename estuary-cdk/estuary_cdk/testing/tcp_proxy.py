"""A proxy for TCP that fails as networks do: it cuts connections, delays, stalls and half-closes.

with tcp_proxy("127.0.0.1", cluster.port) as proxy:
    proxy.cuts = lambda: random.randrange(100_000)
    dial(proxy.address)
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from estuary_cdk.transport import LoopThread

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 1 << 16

Cuts = Callable[[], int | None]
"""Returns after how many bytes from the server a new connection is cut, None for never."""


def uncut() -> None:
    """Let connections live."""
    return


class TcpProxy:
    """A running proxy; what it is told holds for the bytes that come from then on."""

    def __init__(self, thread: LoopThread, host: str, port: int) -> None:
        self._thread = thread
        self._goal = (host, port)
        self._port = 0
        self._server: asyncio.Server | None = None
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._flowing = asyncio.Event()
        self.cuts: Cuts = uncut
        self.delay_s = 0.0
        self.count = 0
        """How many connections were made."""

    @property
    def address(self) -> str:
        """Where it listens, as host and port."""
        return f"{HOST}:{self._port}"

    def start(self) -> None:
        """Listen, at the port of before if there was one."""
        self._thread.call(self._start())

    def stop(self) -> None:
        """Cut all connections, and refuse others until `start`."""
        self._thread.call(self._stop())

    def drop(self) -> int:
        """Cut all connections, as with RST; returns how many."""
        return self._thread.call(self._drop())

    def half_close(self) -> None:
        """Tell clients that the server has ended, and go on taking what they send."""
        self._thread.call(self._half_close())

    def stall(self) -> None:
        """Let nothing through, and say nothing either, until `resume`."""
        self._thread.call(self._flow(flowing=False))

    def resume(self) -> None:
        """Let everything through again."""
        self._thread.call(self._flow(flowing=True))

    async def _start(self) -> None:
        self._flowing.set()
        self._server = await asyncio.start_server(self._accepted, HOST, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        await self._drop()

    async def _drop(self) -> int:
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for writer in pair:
                writer.transport.abort()
        return len(pairs)

    async def _half_close(self) -> None:
        for client, _ in self._pairs:
            with suppress(OSError):
                client.write_eof()

    async def _flow(self, *, flowing: bool) -> None:
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled when the proxy is stopped: nobody waits for this task to say so.
        with suppress(asyncio.CancelledError):
            self.count += 1
            try:
                answers, requests = await asyncio.open_connection(*self._goal)
            except OSError:
                writer.transport.abort()
                return
            pair = (writer, requests)
            self._pairs.append(pair)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(reader, requests, None))
                    both.create_task(self._carry(answers, writer, self.cuts()))
            except* (OSError, RuntimeError, asyncio.CancelledError):
                pass
            finally:
                for each in pair:
                    each.transport.abort()
                if pair in self._pairs:
                    self._pairs.remove(pair)

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int | None
    ) -> None:
        while data := await source.read(CHUNK_BYTES):
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            await self._flowing.wait()
            target.write(data if left is None else data[:left])
            await target.drain()
            if left is not None:
                left -= len(data)
                if left <= 0:
                    raise ConnectionResetError("the proxy cuts the connection")
        target.write_eof()


@contextmanager
def tcp_proxy(host: str, port: int) -> Iterator[TcpProxy]:
    """Run a proxy to a host's port for the block."""
    thread = LoopThread("tcp proxy")
    proxy = TcpProxy(thread, host, port)
    thread.start()
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()
        thread.stop()
