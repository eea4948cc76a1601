"""Which windows of time to read next: pure functions of progress and time.

Time is cut at ticks, which are counted from the Unix epoch. Windows are half-open and adjacent, so
every moment from `since` on is in exactly one window of those read. What was there before the
capture started, up to the cutoff, is its history, oldest first; the tail goes on from the cutoff
beside it. A window of the tail is complete, and may be read, once its end is `lag` in the past.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time: its start is in it, its end isn't. Both are in UTC, on ticks."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Cut:
    """How time is cut: `tick` is the finest step a source's filter knows, `step` a window's size.

    `lag` is how late something may show up at the source.
    """

    since: datetime
    tick: timedelta
    lag: timedelta
    step: timedelta


@dataclass(frozen=True, slots=True)
class Progress:
    """Where to go on: history is complete up to `history`, of `cutoff`; the tail up to `tail`."""

    history: datetime
    cutoff: datetime
    tail: datetime


def floor(moment: datetime, tick: timedelta) -> datetime:
    """Return the last tick that isn't after `moment`."""
    return moment.astimezone(UTC) - (moment - EPOCH) % tick


def complete_until(cut: Cut, now: datetime) -> datetime:
    """Return the end of time that is complete at `now`."""
    return floor(now - cut.lag, cut.tick)


def beginning(cut: Cut, now: datetime) -> Progress:
    """Return the progress of a stream that starts at `now`."""
    since = floor(cut.since, cut.tick)
    cutoff = max(since, complete_until(cut, now))
    return Progress(since, cutoff, cutoff)


def restarted(cut: Cut, progress: Progress) -> Progress:
    """Return progress with all history before the tail to be read again."""
    return replace(progress, history=floor(cut.since, cut.tick), cutoff=progress.tail)


def history_window(cut: Cut, progress: Progress) -> Window | None:
    """Return the next window of history, None when it is complete."""
    return _window(cut, progress.history, progress.cutoff)


def tail_window(cut: Cut, progress: Progress, now: datetime) -> Window | None:
    """Return the next window of the tail, None while it isn't complete."""
    return _window(cut, progress.tail, complete_until(cut, now))


def tail_due(cut: Cut, progress: Progress) -> datetime:
    """Return when the next window of the tail is complete."""
    return progress.tail + cut.tick + cut.lag


def _window(cut: Cut, start: datetime, end: datetime) -> Window | None:
    if start >= end:
        return None
    step = max(cut.step - cut.step % cut.tick, cut.tick)
    return Window(start, min(start + step, end))
