"""A clock for tests: time stands still while anything can run, and jumps when all wait for it.

A sleeper wakes at exactly the moment it asked for, earliest first and, at the same moment, in the
order of their calls. Nothing waits in real time, so a test over a simulated year takes as long as
the code under test. "All wait" is judged by letting the event loop turn `TURNS_BEFORE_JUMP` times:
in-memory code and loopback sockets of the same loop get ahead of the jump, threads and other
processes may not; for those, use `FakeClock(autojump=False)` and `advance`.
"""

import asyncio
import heapq
from datetime import UTC, datetime, timedelta

TURNS_BEFORE_JUMP = 100
START = datetime(2024, 1, 1, tzinfo=UTC)


class FakeClock:
    """A `Clock` whose time moves by jumps alone.

    `sleeps` lists the seconds of every sleep asked for, in order. `elapsed` is the time since the
    start. With `autojump=False` only `advance` moves time.
    """

    def __init__(self, start: datetime = START, *, autojump: bool = True) -> None:
        self.sleeps: list[float] = []
        self.elapsed = 0.0
        self._start = start
        self._autojump = autojump
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._turns = 0
        self._watching = False

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        wakeup: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._sleepers, (self.elapsed + seconds, len(self.sleeps), wakeup))
        self._turns = 0
        if self._autojump and not self._watching:
            self._watching = True
            loop.call_soon(self._watch, loop)
        await wakeup

    def advance(self, seconds: float) -> None:
        """Move time forward and wake every sleeper that is due, in order."""
        end = self.elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self._wake_earliest()
        self.elapsed = max(self.elapsed, end)

    def _wake_earliest(self) -> None:
        moment, _, wakeup = heapq.heappop(self._sleepers)
        if not wakeup.done():  # done: its task was cancelled, time need not move for it
            self.elapsed = max(self.elapsed, moment)
            wakeup.set_result(None)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turns += 1
        if self._turns >= TURNS_BEFORE_JUMP:
            self._turns = 0
            self._wake_earliest()
        if self._sleepers:
            loop.call_soon(self._watch, loop)
        else:
            self._watching = False
