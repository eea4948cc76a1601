"""Durations as people write them: `5m`, `1h 30m`, `2 days`."""

import re
from datetime import timedelta

_UNITS = {
    timedelta(microseconds=1): ("us", "usec", "µs"),
    timedelta(milliseconds=1): ("ms", "msec"),
    timedelta(seconds=1): ("s", "sec", "secs", "second", "seconds"),
    timedelta(minutes=1): ("m", "min", "mins", "minute", "minutes"),
    timedelta(hours=1): ("h", "hr", "hrs", "hour", "hours"),
    timedelta(days=1): ("d", "day", "days"),
    timedelta(weeks=1): ("w", "wk", "wks", "week", "weeks"),
    timedelta(days=30.44): ("M", "month", "months"),
    timedelta(days=365.25): ("y", "yr", "yrs", "year", "years"),
}
_BY_NAME = {name: unit for unit, names in _UNITS.items() for name in names}
_PART = re.compile(r"\s*([0-9]{1,12})\s*([A-Za-zµ]+)")


def duration(text: str) -> timedelta:
    """Return the sum of the parts of `text`, each a whole number and a unit.

    Raises ValueError with a reason when it isn't one.
    """
    total, at = timedelta(), 0
    stripped = text.rstrip()
    if not stripped:
        raise ValueError("it is empty")
    while at < len(stripped):
        part = _PART.match(stripped, at)
        if part is None:
            raise ValueError("expected a number and a unit")
        unit = _BY_NAME.get(part[2])
        if unit is None:
            raise ValueError(f"{part[2]!r} isn't a unit of time")
        try:
            total += int(part[1]) * unit
        except OverflowError as error:
            raise ValueError("it is too long") from error
        at = part.end()
    return total
