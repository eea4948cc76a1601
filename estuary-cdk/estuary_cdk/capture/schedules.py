"""When to do something again: durations as people write them, and cron expressions in UTC."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PART: Final = re.compile(r"\s*(\d+)\s*(ms|[smhdw])\s*")
CRON_FIELDS: Final = 5


def _duration(value: Any) -> Any:
    """Read `90s` or `1h 30m`; ISO 8601 is left to pydantic."""
    if not isinstance(value, str):
        return value
    total, end = timedelta(), 0
    while part := _PART.match(value, end):
        total += int(part[1]) * _UNITS[part[2]]
        end = part.end()
    return total if end and end == len(value) else value


def _positive(value: timedelta) -> timedelta:
    if value <= timedelta():
        raise ValueError("must be longer than nothing")
    return value


def _cron(value: str) -> str:
    if value:
        fields = len(value.split())
        if fields != CRON_FIELDS:
            raise ValueError(f"a cron expression has {CRON_FIELDS} fields, found {fields}")
        try:
            next_fire(value, datetime(2024, 1, 1, tzinfo=UTC))
        except CronSimError as error:
            raise ValueError(f"isn't a cron expression: {error}") from error
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration),
    AfterValidator(_positive),
    # No `format`: a form that knows it would refuse `5m`.
    WithJsonSchema({"type": "string"}),
]
"""A setting that takes `PT5M` as well as `5m`."""

Cron = Annotated[str, AfterValidator(_cron)]
"""A setting that takes a cron expression of five fields, or nothing."""


def next_fire(expression: str, after: datetime) -> datetime:
    """Return the first moment after `after` that a cron expression names."""
    return next(CronSim(expression, after.astimezone(UTC)))
