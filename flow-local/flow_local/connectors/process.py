"""A connector's process: started in a group of its own, and ended with everything it started.

Its stderr is decoded and handed on while it runs. Whoever starts a process must `stop` it; that
returns only when the process is gone. Should we be killed, the kernel kills it (Linux).
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from estuary_cdk.errors import ConfigError
from estuary_cdk.transport import FdReader, FdWriter
from flow_local.connectors import containers, parachute
from flow_local.connectors.endpoint import Endpoint
from flow_local.connectors.events import LogDecoder, LogEvent

LOG_PAUSE_S: Final = 0.25
KILL_WAIT_S: Final = 5.0
LOG_WAIT_S: Final = 1.0

_PARACHUTE: Final = str(Path(parachute.__file__).resolve())

OnEvent = Callable[[LogEvent], None]


class _Logs(asyncio.Protocol):
    """Decodes stderr as it comes and remembers the last event; `ended` once it is closed."""

    def __init__(self, on_event: OnEvent) -> None:
        self.last: LogEvent | None = None
        self.ended = asyncio.Event()
        self.on_event = on_event
        self._decoder = LogDecoder()
        self._pause: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        self._hand_on(self._decoder.feed(data))
        if self._pause is not None:
            self._pause.cancel()
        loop = asyncio.get_running_loop()
        self._pause = loop.call_later(LOG_PAUSE_S, lambda: self._hand_on(self._decoder.pause()))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - it's all the same
        if self._pause is not None:
            self._pause.cancel()
        self._hand_on(self._decoder.end())
        self.ended.set()

    def _hand_on(self, events: Iterable[LogEvent]) -> None:
        for event in events:
            self.last = event
            self.on_event(event)


class Process:
    """A running connector; made by `launch`."""

    def __init__(
        self,
        child: asyncio.subprocess.Process,
        pipes: tuple[int, int],
        logs: tuple[asyncio.ReadTransport, _Logs],
        clean_up: Callable[[], None] | None,
    ) -> None:
        self.stdin = FdWriter(pipes[0])
        self.stdout = FdReader(pipes[1])
        self._child = child
        self._stderr, self._logs = logs
        self._clean_up = clean_up
        self._released = False

    @property
    def pid(self) -> int:
        """Its process id, which is also the id of its group."""
        return self._child.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet, as far as is known."""
        return self._child.returncode is None

    def hand_logs_to(self, on_event: OnEvent) -> None:
        """Hand what it logs from now on to somebody else."""
        self._logs.on_event = on_event

    @property
    def said(self) -> str:
        """The sentence it logged last."""
        return self._logs.last.sentence if self._logs.last else ""

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
        if self._released:
            return
        self._released = True
        with suppress(Exception):
            await self.stdin.close()
        with suppress(TimeoutError):  # What left the group may hold it open; not our child.
            async with asyncio.timeout(LOG_WAIT_S):
                await self.stdout.close()
        self._stderr.close()
        if self._clean_up:
            await asyncio.to_thread(self._clean_up)

    async def _logs_end(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOG_WAIT_S):
                await self._logs.ended.wait()

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child.pid, number)


async def launch(endpoint: Endpoint, on_event: OnEvent, log_level: str = "info") -> Process:
    """Start a connector.

    Raises ConfigError where the machine refuses to.
    """
    argv, name = endpoint.named()
    # A container is stopped by a signal that its engine passes on; a program can't refuse SIGKILL.
    farewell = signal.SIGTERM if endpoint.engine else signal.SIGKILL
    guard = (sys.executable, "-I", "-S", _PARACHUTE, str(os.getpid()), str(int(farewell)))
    environment = {**os.environ, "LOG_LEVEL": log_level, **endpoint.environment}
    (stdin_read, stdin_write), (stdout_read, stdout_write) = os.pipe(), os.pipe()
    stderr_read, stderr_write = os.pipe()
    # Before there is a process: from its start to the end of this function nothing may go wrong.
    stderr = os.fdopen(stderr_read, "rb", buffering=0)
    loop = asyncio.get_running_loop()
    logs = await loop.connect_read_pipe(lambda: _Logs(on_event), stderr)
    try:
        child = await asyncio.create_subprocess_exec(
            *guard,
            *argv,
            stdin=stdin_read,
            stdout=stdout_write,
            stderr=stderr_write,
            env=environment,
            start_new_session=True,
        )
    except BaseException as error:
        logs[0].close()
        os.close(stdin_write)
        os.close(stdout_read)
        if isinstance(error, OSError | ValueError):
            raise ConfigError(f"can't launch connector {endpoint.title!r}: {error}") from error
        raise
    finally:
        for fd in (stdin_read, stdout_write, stderr_write):
            os.close(fd)
    clean_up = partial(containers.remove, endpoint.engine, name) if endpoint.engine else None
    return Process(child, (stdin_write, stdout_read), logs, clean_up)
