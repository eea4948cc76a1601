"""What each type of column takes: JSON text in, a value that BigQuery has in it out.

A reading's `patient` reads one value; whole columns are read in bulk by `columns`. What fits no
value of the type raises BeyondRangeError: the column then becomes one that holds it, in the end
text. Nothing is rounded, but:

- a JSON number in a FLOAT64 is the nearest double, as all readers of JSON have it;
- a TIMESTAMP ends at microseconds: further digits are cut off, so that no moment becomes a later
  one. A leap second is the first second of the next minute.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

import msgspec
from msgspec import Raw

from estuary_cdk.kits.sql import BeyondRangeError, Reading
from estuary_cdk.kits.sql import readings as kit
from estuary_cdk.kits.sql.readings import storable

NUMERIC_SCALE: Final = 9
NUMERIC_WHOLE_DIGITS: Final = 29
BIG_SCALE: Final = 38
BIG_WHOLE_DIGITS: Final = 38
WORDS: Final = frozenset({"nan", "infinity", "-infinity", "+infinity", "inf", "-inf", "+inf"})

_MOMENT: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[Tt ](?P<clock>\d\d:\d\d:)(?P<second>\d\d)(?:\.(?P<part>\d+))?"
    r"(?P<zone>[zZ]|[+-]\d\d:?\d\d)\Z"
)
_TIME: Final = re.compile(
    r"(?P<clock>\d\d:\d\d:\d\d)(?:\.(?P<part>\d{1,6}))?(?:[zZ]|[+-]00:?00)?\Z"
)
_CALENDAR_YEARS: Final = 400  # after which the calendar repeats


def string(text: bytes) -> str:
    """Read a string, with U+FFFD for halves of surrogate pairs."""
    if text[:1] != b'"':
        raise ValueError("is no string")
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    try:
        return msgspec.json.decode(storable(text), type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"is no text: {error}") from error


def plain(text: bytes) -> str:
    """Read a string as its text, anything else as its JSON text."""
    return string(text) if text[:1] == b'"' else text.decode()


def _number(text: bytes) -> Decimal:
    spelled = plain(text).strip()
    if spelled.lower() in WORDS:
        raise BeyondRangeError("is no number that has digits")
    try:
        number = Decimal(spelled)
    except InvalidOperation:
        raise ValueError("is no number") from None
    if not number.is_finite():
        raise BeyondRangeError("is no number that has digits")
    return number


def _decimal(text: bytes, whole: int, scale: int, *, kind: str) -> Decimal:
    number = _number(text)
    if number and (number.adjusted() >= whole or _scale(number) > scale):
        raise BeyondRangeError(f"has more digits than {kind}: set castToString for the field")
    return number


def _scale(number: Decimal) -> int:
    """Return how many digits behind the point a number has; `normalize` would round it."""
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    ending = "".join(map(str, digits))
    return -exponent - (len(ending) - len(ending.rstrip("0")))


def _numeric(text: bytes) -> Decimal:
    return _decimal(text, NUMERIC_WHOLE_DIGITS, NUMERIC_SCALE, kind="a NUMERIC")


def _bignumeric(text: bytes) -> str:
    return format(_decimal(text, BIG_WHOLE_DIGITS, BIG_SCALE, kind="a BIGNUMERIC"), "f")


def _big_integer(text: bytes) -> str:
    number = _decimal(text, BIG_WHOLE_DIGITS, BIG_SCALE, kind="a BIGNUMERIC")
    if number != number.to_integral_value():
        raise BeyondRangeError("isn't an integer: set castToString for the field")
    return str(int(number))


def _double(text: bytes) -> float:
    """Read a number as the nearest double; a string's only if it is the very same number."""
    if text[:1] != b'"':
        return float(kit.DOUBLE.patient(text))
    spelled = string(text).strip()
    if spelled.lower() in WORDS:
        return float(spelled)
    number = _number(text)
    double = float(number)
    if Decimal(repr(double)) != number:
        raise BeyondRangeError("has more digits than a FLOAT64: set castToString for the field")
    return double


def _date(text: bytes) -> date:
    spelled = string(text)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", spelled) is None:
        raise ValueError("isn't a date such as 2024-12-31: set ignoreStringFormat for the field")
    if spelled.startswith("0000"):
        raise BeyondRangeError("is before the year 1: set ignoreStringFormat for the field")
    try:
        return date.fromisoformat(spelled)
    except ValueError as error:
        raise ValueError(f"isn't a date: {error}") from error


def _moment(text: bytes) -> datetime:
    found = _MOMENT.match(string(text))
    if found is None:
        raise ValueError(
            "isn't a moment with a zone such as 2024-12-31T23:59:59Z: set ignoreStringFormat for "
            "the field"
        )
    leap = found["second"] == "60"
    year, rest = int(found["day"][:4]), found["day"][4:]
    part = "000000" if leap else (found["part"] or "").ljust(6, "0")[:6]
    local = f"{rest}T{found['clock']}{'59' if leap else found['second']}.{part}"
    try:
        # Moved inside of what datetime knows, and back below.
        shifted = datetime.fromisoformat(f"{(year + _CALENDAR_YEARS) % 9600 or 9600:04}{local}")
    except ValueError as error:
        raise ValueError(f"isn't a moment: {error}") from error
    instant = shifted - _offset(found["zone"]) + timedelta(seconds=leap)
    real = instant.year + year - shifted.year
    if not 1 <= real <= 9999:
        raise BeyondRangeError(
            "is outside the years 1 to 9999 in UTC: set ignoreStringFormat for the field"
        )
    return instant.replace(year=real, tzinfo=UTC)


def _offset(zone: str) -> timedelta:
    if zone in "zZ":
        return timedelta()
    size = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -size if zone[0] == "-" else size


def _time(text: bytes) -> time:
    found = _TIME.match(string(text))
    if found is None:
        raise BeyondRangeError("is no time of day in UTC to the microsecond")
    try:
        return time.fromisoformat(f"{found['clock']}.{(found['part'] or '').ljust(6, '0')}")
    except ValueError as error:
        raise BeyondRangeError(f"is no time of day: {error}") from error


def _json(text: bytes) -> str:
    return storable(text).decode()


TEXT: Final = Reading(str | None, string)
"""Strings."""
PLAIN_TEXT: Final = Reading(Raw, plain)
"""Strings as their text, everything else as its JSON text: numbers exactly as spelled."""
JSON_TEXT: Final = Reading(Raw, bytes.decode)
"""Any value as its JSON text, byte for byte."""
JSON: Final = Reading(Raw, _json)
"""Any value as JSON, without what JSON of BigQuery can't hold."""
DOUBLE: Final = Reading(float | None, _double)
"""Numbers."""
DOUBLE_OR_WORD: Final = Reading(float | str | None, _double)
"""Numbers, and strings that spell one: with NaN and the infinities."""
NUMERIC: Final = Reading(Raw, _numeric)
"""Numbers, and strings that spell one, of 29 digits before the point and 9 behind it."""
BIGNUMERIC: Final = Reading(Raw, _bignumeric)
"""Numbers, and strings that spell one, of 38 digits before the point and 38 behind it."""
BIG_INTEGER: Final = Reading(Raw, _big_integer)
"""Integers, and strings that spell one, of 38 digits."""
DATE: Final = Reading(str | None, _date)
"""Dates of the years 1 to 9999."""
TIMESTAMP: Final = Reading(str | None, _moment)
"""Moments with a zone."""
TIME: Final = Reading(str | None, _time)
"""Times of day in UTC."""
