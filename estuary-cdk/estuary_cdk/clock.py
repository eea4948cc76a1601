"""Time of day, elapsed time and waiting: one argument instead of three globals."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where code below the command line gets its time from.

    `now()` is the time of day, aware and in UTC; it may jump when the machine's clock is set.
    `monotonic()` is in seconds since an arbitrary start and never goes back; durations and
    deadlines are measured with it. `sleep` returns after at least that many seconds; zero or less
    lets other tasks run once.
    """

    def now(self) -> datetime: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock and the event loop's timers."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))
