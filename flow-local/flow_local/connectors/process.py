"""A connector's process: started in a group of its own, and ended with everything it started.

Its stderr is decoded and handed on while it runs. Whoever starts a process must `stop` it; that
returns only when the process is gone. Should we be killed, the kernel kills it (Linux).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from estuary_cdk.errors import ConfigError
from estuary_cdk.transport import FdReader, FdWriter
from flow_local.connectors import parachute
from flow_local.connectors.endpoint import Endpoint
from flow_local.connectors.events import LogDecoder, LogEvent

LOG_CHUNK_BYTES: Final = 1 << 16
LOG_PAUSE_S: Final = 0.25
KILL_WAIT_S: Final = 5.0
LOG_WAIT_S: Final = 1.0
REMOVAL_WAIT_S: Final = 20.0

_PARACHUTE: Final = str(Path(parachute.__file__).resolve())

OnEvent = Callable[[LogEvent], None]


class Process:
    """A running connector; made by `launch`."""

    def __init__(
        self, child: asyncio.subprocess.Process, fds: tuple[int, int], removal: tuple[str, ...]
    ) -> None:
        self.stdin = FdWriter(fds[0])
        self.stdout = FdReader(fds[1])
        self.last_event: LogEvent | None = None
        self._child = child
        self._removal = removal
        self._logs: asyncio.Task[None] | None = None
        self._stopped = False

    @property
    def pid(self) -> int:
        """Its process id, which is also the id of its group."""
        return self._child.pid

    def read_logs(self, stderr: asyncio.StreamReader, on_event: OnEvent) -> None:
        """Decode stderr from now on."""
        self._logs = asyncio.create_task(self._decode(stderr, on_event), name="logs")

    async def _decode(self, stderr: asyncio.StreamReader, on_event: OnEvent) -> None:
        decoder = LogDecoder()
        while True:
            try:
                async with asyncio.timeout(LOG_PAUSE_S if decoder.gathering else None):
                    chunk = await stderr.read(LOG_CHUNK_BYTES)
            except TimeoutError:
                events = list(decoder.pause())
                if not events:  # Half a line: nothing to hand on until it ends.
                    chunk = await stderr.read(LOG_CHUNK_BYTES)
                    events = list(decoder.feed(chunk) if chunk else decoder.end())
                    if not chunk:
                        self._hand_on(events, on_event)
                        return
                self._hand_on(events, on_event)
                continue
            self._hand_on(list(decoder.feed(chunk) if chunk else decoder.end()), on_event)
            if not chunk:
                return

    def _hand_on(self, events: list[LogEvent], on_event: OnEvent) -> None:
        for event in events:
            self.last_event = event
            on_event(event)

    async def ended(self, within_s: float) -> int | None:
        """Return its exit status, or None where it goes on for longer than that.

        Once it has ended, all it logged has been handed on.
        """
        try:
            async with asyncio.timeout(within_s):
                status = await self._child.wait()
        except TimeoutError:
            return None
        self._signal_group(signal.SIGKILL)  # What it started itself may hold its streams open.
        await self._logs_end()
        return status

    @property
    def said(self) -> str:
        """The sentence it logged last."""
        return self.last_event.sentence if self.last_event else ""

    async def stop(self, grace_s: float) -> int:
        """End it: wait, then SIGTERM, then SIGKILL to its group; return its exit status.

        `grace_s` is how long it has after the end of its stdin and again after SIGTERM.
        """
        with suppress(Exception):
            async with asyncio.timeout(grace_s):
                await self.stdin.close()
        status = await self.ended(grace_s)
        if status is None:
            self._signal_group(signal.SIGTERM)
            status = await self.ended(grace_s)
        if status is None:
            self._signal_group(signal.SIGKILL)
            status = await self.ended(KILL_WAIT_S)
        await self._release()
        return -signal.SIGKILL if status is None else status

    async def kill(self) -> None:
        """End it at once."""
        self._signal_group(signal.SIGKILL)
        await self.ended(KILL_WAIT_S)
        await self._release()

    async def _release(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        with suppress(Exception):
            await self.stdin.close()
        with suppress(
            TimeoutError
        ):  # What left the group may hold it open; not our child to wait for.
            async with asyncio.timeout(LOG_WAIT_S):
                await self.stdout.close()
        if self._logs is not None:
            self._logs.cancel()
            await asyncio.gather(self._logs, return_exceptions=True)
        if self._removal:
            await _run_quietly(self._removal)

    async def _logs_end(self) -> None:
        if self._logs is not None:
            await asyncio.wait({self._logs}, timeout=LOG_WAIT_S)

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)


async def launch(endpoint: Endpoint, on_event: OnEvent, log_level: str = "info") -> Process:
    """Start a connector.

    Raises ConfigError where the machine refuses to.
    """
    argv, name = endpoint.named()
    # A container is stopped by a signal that its engine passes on; a program can't refuse SIGKILL.
    farewell = signal.SIGTERM if endpoint.removal else signal.SIGKILL
    guard = (sys.executable, "-I", "-S", _PARACHUTE, str(os.getpid()), str(int(farewell)))
    environment = {**os.environ, "LOG_LEVEL": log_level, **endpoint.environment}
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for reading in (True, False, False):
            read_end, write_end = os.pipe()
            theirs.append(read_end if reading else write_end)
            ours.append(write_end if reading else read_end)
        child = await asyncio.create_subprocess_exec(
            *guard,
            *argv,
            stdin=theirs[0],
            stdout=theirs[1],
            stderr=theirs[2],
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        for fd in ours:
            os.close(fd)
        raise ConfigError(f"can't launch connector {endpoint.title!r}: {error}") from error
    finally:
        for fd in theirs:
            os.close(fd)
    removal = (*endpoint.removal, name) if endpoint.removal else ()
    process = Process(child, (ours[0], ours[1]), removal)
    process.read_logs(await _stream(ours[2]), on_event)
    return process


async def _stream(fd: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    pipe = os.fdopen(fd, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    return reader


async def _run_quietly(command: tuple[str, ...]) -> None:
    """Run a command of a container engine, ignoring how it ends."""
    nothing = asyncio.subprocess.DEVNULL
    with suppress(OSError, TimeoutError):
        child = await asyncio.create_subprocess_exec(
            *command, stdin=nothing, stdout=nothing, stderr=nothing
        )
        async with asyncio.timeout(REMOVAL_WAIT_S):
            await child.wait()
