"""How many requests may start in how much time, shared by everyone who asks.

The bucket is a virtual schedule in whole nanoseconds: each request moves the time at which the
bucket is full again by one interval, and a request may start when that time is at most `burst - 1`
intervals ahead. So of requests that start at moments t1, t2, …, any half-open span of length `per`
holds at most `n + burst - 1`.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from estuary_cdk.clock import Clock

# Shorter waits get lost in the rounding of a clock that has run for long.
WAIT_SECONDS_MIN = 1e-6

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `n` requests in any span `per`, evenly spaced; `burst` of them may start at once."""

    n: int
    per: timedelta
    burst: int = 1

    def __post_init__(self) -> None:
        if self.n < 1 or self.burst < 1 or self.per <= timedelta(0):
            raise ValueError(f"a rate needs n >= 1, burst >= 1 and per > 0: {self}")

    @property
    def interval_ns(self) -> int:
        """Nanoseconds between two starts, rounded up so that the rate is never exceeded."""
        per_us = self.per // timedelta(microseconds=1)
        return -(-per_us * 1000 // self.n)


class Bucket:
    """Hands out starts in the order they are asked for; a pause holds all of them back.

    Without a rate it holds nobody back except during a pause.
    """

    def __init__(self, rate: Rate | None, clock: Clock) -> None:
        self._interval = rate.interval_ns if rate else 0
        self._ahead = self._interval * (rate.burst - 1) if rate else 0
        self._clock = clock
        self._full_at = 0
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Wait for permission to start one request."""
        async with self._turn:
            # A pause may have been set meanwhile, and timers may fire early.
            while (wait := self.wait()) > 0:
                await self._clock.sleep(max(wait, WAIT_SECONDS_MIN))
            self.take()

    def wait(self) -> float:
        """Return the seconds until the next request may start; 0 when it may start now."""
        now = self._now()
        return max(0, self._full_at - self._ahead - now) / _NANOSECONDS

    def take(self) -> None:
        """Count one request that starts now."""
        self._full_at = max(self._full_at, self._now()) + self._interval

    def pause(self, seconds: float) -> None:
        """Hold all requests back for that long, then let them go evenly spaced, without a burst."""
        until = self._now() + int(seconds * _NANOSECONDS)
        self._full_at = max(self._full_at, until + self._ahead)

    def _now(self) -> int:
        return int(self._clock.monotonic() * _NANOSECONDS)
