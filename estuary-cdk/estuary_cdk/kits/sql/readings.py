"""From JSON text to what a driver takes: one reading per way of keeping a value.

A reading decodes in bulk, in compiled code, by a msgspec type. What that type refuses though it is
legal JSON for the field (`1.0` for an integer, base64 without padding) goes one by one through the
reading's `patient`. Values never change: what a column can't hold exactly is refused with a reason,
with one exception that is said in `DOUBLE`.
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Final

import msgspec
from msgspec import Raw

from estuary_cdk.kits.sql.flattening import INT64_MAX, INT64_MIN

INTEGER_DIGITS_MAX: Final = 4300


_SURROGATE: Final = re.compile(
    rb"(?<!\\)((?:\\\\)*)(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|"
    rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\u0000)"
)
_PAIR_LENGTH: Final = 12
_REPLACEMENT: Final = "\ufffd".encode()


def storable(text: bytes) -> bytes:
    """Return JSON text with U+FFFD for U+0000 and halves of surrogate pairs."""
    return _SURROGATE.sub(_replaced, text) if b"\\u" in text else text


def _replaced(found: re.Match[bytes]) -> bytes:
    return found[0] if len(found[2]) == _PAIR_LENGTH else found[1] + _REPLACEMENT


class BeyondRangeError(ValueError):
    """A number of the right kind that is too large for the column's type: a wider one holds it."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the JSON text of a value that isn't null becomes what the driver takes.

    `wire` is the msgspec type of a value, `convert` what is done to each decoded one. `patient`
    reads one value's JSON text and raises ValueError, with a reason, for what can't be kept.
    `convert_all` is what may be done to all values of a column at once in place of `convert`; it
    raises ValueError if any needs patience.
    """

    wire: Any
    patient: Callable[[bytes], Any]
    convert: Callable[[Any], Any] | None = None
    convert_all: Callable[[Sequence[Any]], Sequence[Any]] | None = None


def _whole(text: bytes) -> int:
    try:
        number = Decimal(text.decode())
    except InvalidOperation:
        raise ValueError("isn't an integer") from None
    if not number.is_finite() or number.adjusted() >= INTEGER_DIGITS_MAX:
        raise ValueError(f"has more than {INTEGER_DIGITS_MAX} digits")
    if number != number.to_integral_value():
        raise ValueError("isn't an integer")
    return int(number)


def _int64(text: bytes) -> int:
    number = _whole(text)
    if not INT64_MIN <= number <= INT64_MAX:
        raise BeyondRangeError(
            "is an integer beyond 64 bits: give the field a minimum or maximum in the collection's "
            "schema that allows it, or set castToString for the field"
        )
    return number


def _double(text: bytes) -> float:
    try:
        return msgspec.json.decode(text, type=float)
    except msgspec.MsgspecError as error:
        if text[:1] in b"-0123456789":
            raise BeyondRangeError(
                "is a number beyond the range of a double: set castToString for the field"
            ) from error
        raise ValueError("is no number") from error


def _boolean(text: bytes) -> bool:
    if text not in {b"true", b"false"}:
        raise ValueError("is no boolean")
    return text == b"true"


def _string(text: bytes) -> str:
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError("is no string") from error


def _base64(text: bytes) -> bytes:
    spelled = "".join(_string(text).split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(spelled + "=" * (-len(spelled) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"isn't base64: {error}") from error


def _plain_text(text: bytes) -> str:
    return _string(text) if text[:1] == b'"' else text.decode()


def _raw_plain_text(raw: Raw) -> str | None:
    text = bytes(raw)
    return None if text == b"null" else _plain_text(text)


def _raw_json_text(raw: Raw) -> str | None:
    text = str(raw, "utf-8")
    return None if text == "null" else text


def _decimal_text(number: int | None) -> str | None:
    return None if number is None else str(number)


_Int64 = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)]

INT64: Final = Reading(_Int64 | None, _int64)
"""Integers of 64 bits; `1.0` and `1e3` are integers too."""
INTEGER_TEXT: Final = Reading(int | None, lambda text: str(_whole(text)), _decimal_text)
"""Integers of any size as decimal digits."""
DOUBLE: Final = Reading(float | None, _double)
"""Numbers as the nearest double, which is what readers of JSON do; beyond its range is refused."""
BOOLEAN: Final = Reading(bool | None, _boolean)
"""Booleans."""
TEXT: Final = Reading(str | None, _string)
"""Strings."""
BYTES: Final = Reading(bytes | None, _base64)
"""Base64 strings as the bytes they spell."""
PLAIN_TEXT: Final = Reading(Raw, _plain_text, _raw_plain_text)
"""Strings as their text, everything else as its JSON text: numbers exactly as spelled."""
JSON_TEXT: Final = Reading(Raw, bytes.decode, _raw_json_text)
"""Any value as its JSON text, byte for byte."""
