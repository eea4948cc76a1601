"""When a transaction is acknowledged: at once, or at the next instant of a schedule.

The runtime begins the next transaction's stores only after the acknowledgement, so that holding it
back makes transactions fewer and larger, for destinations that cost by the statement or the hour.
Nothing is held back for the first transactions of a session, nor while there are large ones: a
backfill is never slowed down.

Instants are multiples of the period, counted from a moment that differs from task to task, so that
not all tasks wake at once. Outside the hours and days of fast syncs the period is four hours.
"""

import hashlib
from datetime import UTC, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import field_validator, model_validator

from estuary_cdk.config import Settings, setting

TRANSACTIONS_MIN: Final = 5
STORES_MAX: Final = 1_000_000
SLOW: Final = timedelta(hours=4)
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PERIODS: Final = {
    "0s": timedelta(0),
    "30s": timedelta(seconds=30),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "30m": timedelta(minutes=30),
    "1h": timedelta(hours=1),
    "2h": timedelta(hours=2),
    "4h": SLOW,
}
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
Frequency = Literal["", "0s", "30s", "5m", "15m", "30m", "1h", "2h", "4h"]


class SyncSchedule(Settings):
    """How often to commit to the destination, and when less often."""

    frequency: Frequency = setting(
        "",
        alias="syncFrequency",
        title="Sync Frequency",
        description="How often to update the tables: 0s for as soon as there is something to do.",
    )
    zone: str = setting(
        "UTC",
        alias="timezone",
        title="Time Zone",
        description="Time zone of the times below, such as Europe/Berlin.",
    )
    fast_start: str = setting(
        "",
        alias="fastSyncStartTime",
        title="Fast Sync Start Time",
        description="Time of day from which the frequency holds, such as 09:00. Before it, tables "
        "are updated every four hours.",
        pattern=r"^(([01]?[0-9]|2[0-3]):[0-5][0-9])?$",
    )
    fast_stop: str = setting(
        "",
        alias="fastSyncStopTime",
        title="Fast Sync Stop Time",
        description="Time of day until which the frequency holds, such as 17:00.",
        pattern=r"^(([01]?[0-9]|2[0-3]):[0-5][0-9])?$",
    )
    fast_days: list[Day] = setting(
        default_factory=list,
        alias="fastSyncEnabledDays",
        title="Fast Sync Enabled Days",
        description="Days on which the frequency holds; empty for every day.",
    )

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"{zone!r} is no time zone: write one such as Europe/Berlin"
            ) from error
        return zone or "UTC"

    @model_validator(mode="after")
    def _whole_window(self) -> "SyncSchedule":
        if bool(self.fast_start) != bool(self.fast_stop):
            raise ValueError("fastSyncStartTime and fastSyncStopTime are of use only together")
        if self.fast_start and self.fast_start == self.fast_stop:
            raise ValueError("fastSyncStartTime and fastSyncStopTime must differ")
        return self


def wait(schedule: SyncSchedule, now: datetime, seed: str) -> timedelta:
    """Return how long to hold an acknowledgement back at `now`; `seed` is the task's name."""
    return max(next_instant(schedule, now, seed) - now, timedelta(0))


def next_instant(schedule: SyncSchedule, now: datetime, seed: str) -> datetime:
    """Return when to acknowledge: at `now`, at the next multiple, or when it gets faster."""
    fast = _PERIODS[schedule.frequency or "0s"]
    if in_window(schedule, now):
        return _multiple(now, fast, seed)
    slow = _multiple(now, max(fast, SLOW), seed)
    opening = _window_opens(schedule, now)
    return min(slow, opening) if opening is not None else slow


def in_window(schedule: SyncSchedule, now: datetime) -> bool:
    """Tell whether the frequency holds at a moment."""
    local = now.astimezone(ZoneInfo(schedule.zone))
    if not schedule.fast_start:
        return _enabled(schedule, local)
    start, stop = _clock(schedule.fast_start), _clock(schedule.fast_stop)
    clock = local.time().replace(tzinfo=None)
    if start < stop:
        return start <= clock < stop and _enabled(schedule, local)
    # A window over midnight belongs to the day on which it begins.
    if clock >= start:
        return _enabled(schedule, local)
    return clock < stop and _enabled(schedule, local - _DAY)


def _enabled(schedule: SyncSchedule, local: datetime) -> bool:
    return not schedule.fast_days or _DAYS[local.weekday()] in schedule.fast_days


def _clock(text: str) -> time:
    hours, _, minutes = text.partition(":")
    return time(int(hours), int(minutes))


def _multiple(now: datetime, period: timedelta, seed: str) -> datetime:
    if not period:
        return now
    digest = hashlib.sha256(seed.encode()).digest()
    start = _EPOCH + timedelta(seconds=int.from_bytes(digest[:4], "big") % 86_400)
    passed = (now - start) // period
    return start + (passed + 1) * period


def _window_opens(schedule: SyncSchedule, now: datetime) -> datetime | None:
    zone = ZoneInfo(schedule.zone)
    local = now.astimezone(zone)
    opening = _clock(schedule.fast_start) if schedule.fast_start else time(0, 0)
    for days in range(9):
        day = (local + days * _DAY).date()
        moment = datetime.combine(day, opening, zone).astimezone(UTC)
        if moment > now and in_window(schedule, moment):
            return moment
    return None


class Pace:
    """Tells when acknowledgements are held back: after some transactions, none of them large."""

    def __init__(self, schedule: SyncSchedule | None, seed: str) -> None:
        self._schedule = schedule
        self._seed = seed
        self._transactions = 0
        self._large = False

    def committed(self, stores: int) -> None:
        """Take note of a transaction."""
        if stores:
            self._transactions += 1
            self._large = self._large or stores >= STORES_MAX

    def wait_s(self, now: datetime) -> float:
        """Return how many seconds to hold the acknowledgement of the last transaction back."""
        if self._schedule is None or self._large or self._transactions < TRANSACTIONS_MIN:
            return 0.0
        return wait(self._schedule, now, self._seed).total_seconds()
