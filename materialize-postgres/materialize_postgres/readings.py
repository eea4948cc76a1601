r"""What each type of column takes: JSON text in, text that PostgreSQL reads as the same value out.

A reading decodes in bulk what PostgreSQL takes as it is spelled; the rest goes through its
`patient` one by one, and is spelled anew without changing the value.

- No text of PostgreSQL holds U+0000, and no UTF-8 a lone surrogate: TEXT, JSONB and names in JSONB
  have U+FFFD in their place. JSON, the type of whole documents, keeps every byte.
- The year 0000 of ISO 8601 is the year 1 BC.
- Fractions of a second are rounded to microseconds.
- An offset beyond 15 hours, which PostgreSQL has no room for, becomes UTC: the same instant.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from msgspec import Raw

from estuary_cdk.kits.sql import Reading
from estuary_cdk.kits.sql import readings as kit
from estuary_cdk.kits.sql.readings import storable

EXPONENT_MAX: Final = 16_000

_REPLACEMENT: Final = "\ufffd"
_NUMBER: Final = re.compile(rb'"?[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE]([-+]?\d+))?"?')
_WORDS: Final = frozenset(
    {b'"nan"', b'"infinity"', b'"-infinity"', b'"+infinity"', b'"inf"', b'"-inf"', b'"+inf"'}
)
_CLOCK: Final = r"(?:[01]\d|2[0-4]):[0-5]\d:(?:[0-5]\d(?:\.\d+)?|60)"
_ZONE: Final = r"(?:[zZ]|[+-](?:0\d|1[0-4]):[0-5]\d)"
_DATE_LENGTH: Final = 11
_MOMENT_PATTERN: Final = re.compile(rf"(?!0000)\d{{4}}-\d\d-\d\d[Tt ]{_CLOCK}{_ZONE}\Z")
_TIME_PATTERN: Final = re.compile(rf"{_CLOCK}{_ZONE}\Z")
_MOMENT: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<clock>\d\d:\d\d:\d\d(?:\.\d+)?)"
    r"(?P<zone>[zZ]|[+-]\d\d:?\d\d)?"
)
_TIME: Final = re.compile(r"(?P<clock>\d\d:\d\d:\d\d(?:\.\d+)?)(?P<zone>[zZ]|[+-]\d\d:?\d\d)?")
_UUID_PATTERN: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


def _string(text: bytes) -> str:
    if text[:1] != b'"':
        raise ValueError("is no string")
    try:
        decoded = msgspec.json.decode(storable(text), type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"is no text: {error}") from error
    return decoded.replace("\x00", _REPLACEMENT)


def _plain(text: bytes) -> str:
    return _string(text) if text[:1] == b'"' else text.decode()


def _raw_plain(raw: Raw) -> Any:
    text = bytes(raw)
    return None if text == b"null" else _plain(text)


def _raw_jsonb(raw: Raw) -> str | None:
    text = bytes(raw)
    return None if text == b"null" else storable(text).decode()


def _raw_json(raw: Raw) -> str | None:
    text = str(raw, "utf-8")
    return None if text == "null" else text


def _hexadecimal(value: bytes | None) -> str | None:
    return None if value is None else "\\x" + value.hex()


def _numeric(text: bytes) -> Raw:
    """Pass a number through as it is spelled, be it in a string."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        if text.lower() in _WORDS:
            return Raw(text)
        raise ValueError("is no number")
    if found[1] is not None and abs(int(found[1])) > EXPONENT_MAX:
        raise ValueError(f"has an exponent beyond {EXPONENT_MAX}: set castToString for the field")
    return Raw(text)


def _raw_numeric(raw: Raw) -> Raw | None:
    text = bytes(raw)
    return None if text == b"null" else _numeric(text)


def _date(text: bytes) -> str:
    spelled = _string(text)
    if re.fullmatch(r"\d{4}-\d\d-\d\d", spelled) is None:
        raise ValueError("isn't a date such as 2024-12-31: set ignoreStringFormat for the field")
    return _christian(int(spelled[:4]), spelled[4:])


def _christian(year: int, rest: str) -> str:
    """Return a date or moment with its year as PostgreSQL calls it: there is no year 0."""
    return f"{year:04}{rest}" if year > 0 else f"{1 - year:04}{rest} BC"


def _moment(text: bytes) -> str:
    spelled = _string(text)
    found = _MOMENT.fullmatch(spelled)
    if found is None or found["zone"] is None:
        raise ValueError(
            "isn't a moment with a zone such as 2024-12-31T23:59:59Z: set ignoreStringFormat for "
            "the field"
        )
    date, clock, zone = found["date"], found["clock"], found["zone"]
    if clock[6:8] == "60":
        clock = clock[:8]  # a leap second has no parts
    if _fits(zone):
        return _christian(int(date[:4]), f"{date[4:]}T{clock}{zone}")
    return _in_utc(date, clock, zone)


def _fits(zone: str) -> bool:
    return zone in "zZ" or int(zone[1:3]) < 15


def _in_utc(date: str, clock: str, zone: str) -> str:
    # The calendar repeats every 400 years, so the ends of what datetime knows can be moved inside.
    shift = 400 if date < "0002" else -400 if date > "9998" else 0
    local = f"{int(date[:4]) + shift:04}{date[4:]}T{clock[:8].replace(':60', ':59')}"
    there = datetime.fromisoformat(local) - _offset(zone)
    return _christian(there.year - shift, f"{there:-%m-%dT%H:%M:%S}{clock[8:]}Z")


def _offset(zone: str) -> timedelta:
    size = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return -size if zone[0] == "-" else size


def _time(text: bytes) -> str:
    spelled = _string(text)
    found = _TIME.fullmatch(spelled)
    if found is None:
        raise ValueError("isn't a time such as 23:59:59Z: set ignoreStringFormat for the field")
    clock, zone = found["clock"], found["zone"] or "Z"
    if clock[6:8] == "60":
        clock = clock[:8]
    if _fits(zone):
        return clock + zone
    there = datetime.fromisoformat(f"2000-01-01T{clock[:8].replace(':60', ':59')}") - _offset(zone)
    return f"{there:%H:%M:%S}{clock[8:]}Z"


def _uuid_key(text: bytes) -> str:
    spelled = _string(text)
    if re.fullmatch(_UUID_PATTERN, spelled) is None:
        raise ValueError(
            "isn't spelled as PostgreSQL spells a uuid, so that two keys could be one row: "
            "set ignoreStringFormat for the field"
        )
    return spelled


def _all_json(values: Sequence[Raw]) -> Sequence[str | None]:
    joined = b"\n".join(values)
    if b"\\u" in joined:
        return list(map(_raw_jsonb, values))
    return [None if text == "null" else text for text in joined.decode().split("\n")]


def _all_numeric(values: Sequence[Raw]) -> Sequence[Raw | None]:
    odd = b"\n".join(values).translate(None, b'0123456789.-"\n')
    if odd.replace(b"null", b""):
        return list(map(_raw_numeric, values))
    return values


def _all_dates(values: Sequence[str | None]) -> Sequence[str | None]:
    given = list(filter(None, values))
    joined = "\n".join(["", *given])
    if len(joined) != len(given) * _DATE_LENGTH or "\n0000" in joined:
        raise ValueError("not all are plain dates")
    return values


def _all_moments(values: Sequence[str | None]) -> Sequence[str | None]:
    given = list(filter(None, values))
    joined = "\n".join(["", *given, ""])
    plain = joined.count("Z\n") == len(given) and "\n0000" not in joined and ":60" not in joined
    if not plain and not all(map(_MOMENT_PATTERN.match, given)):
        raise ValueError("not all are plain moments")
    return values


def _all_times(values: Sequence[str | None]) -> Sequence[str | None]:
    if not all(map(_TIME_PATTERN.match, filter(None, values))):
        raise ValueError("not all are plain times")
    return values


TEXT: Final = Reading(str | None, _string)
"""Strings."""
PLAIN_TEXT: Final = Reading(Raw, _plain, _raw_plain)
"""Strings as their text, everything else as its JSON text: numbers exactly as spelled."""
JSON: Final = Reading(Raw, bytes.decode, _raw_json)
"""Any value as its JSON text, byte for byte."""
JSONB: Final = Reading(Raw, lambda text: storable(text).decode(), _raw_jsonb, _all_json)
"""Any value as JSON, without what JSONB can't hold."""
NUMERIC: Final = Reading(Raw, _numeric, _raw_numeric, _all_numeric)
"""Numbers, and strings that spell one, of any size and with all their digits."""
BYTEA: Final = Reading(
    bytes | None, lambda text: _hexadecimal(kit.BYTES.patient(text)), _hexadecimal
)
"""Base64 strings as the bytes they spell."""
DATE: Final = Reading(str | None, _date, convert_all=_all_dates)
"""Dates of the years 0000 to 9999."""
TIMESTAMPTZ: Final = Reading(str | None, _moment, convert_all=_all_moments)
"""Moments with a zone."""
TIMETZ: Final = Reading(str | None, _time, convert_all=_all_times)
"""Times of day with their offset; one without is taken for UTC."""
UUID_KEY: Final = Reading(Annotated[str, msgspec.Meta(pattern=_UUID_PATTERN)], _uuid_key)
"""Uuids in the one spelling that PostgreSQL gives back."""
AS_SPELLED: Final = TEXT
"""Strings that PostgreSQL reads by itself: uuid, inet, macaddr, interval."""
