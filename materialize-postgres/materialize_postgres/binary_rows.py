"""Rows in the server's binary form, from the JSON arrays of a batch, column by column.

The server reads it with half the work that text takes, above all documents and moments. What is in
this form is decoded, encoded and joined for a whole column at once. A column of a type that has no
encoder here makes its table's rows text (`csv_rows`), and so does, for its chunk alone, any value
that needs patience: a number with an exponent, the year 0000, a leap second, U+0000.

A row is the number of its columns, then for each the length of its value and the value.
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import compress, repeat
from struct import Struct, pack
from sys import byteorder
from typing import Annotated, Any, Final

import msgspec
from msgspec import Raw

from estuary_cdk.kits.sql import TargetColumn
from estuary_cdk.kits.sql import readings as kit
from estuary_cdk.kits.sql.enumerations import ENUM, family
from materialize_postgres import readings

NULL: Final = b"\xff\xff\xff\xff"

Values = Sequence[Any]
Parts = list[Iterable[bytes]]
"""What follows each other in a row: for each part, its bytes by row."""
Encode = Callable[[Values], Parts]
RowsOf = Callable[[Sequence[bytes], Sequence[bytes], Sequence[bytes] | None], bytes]

LENGTHS: Final = [pack(">i", length) for length in range(4096)]
_LENGTH: Final = Struct(">i").pack
_JSONB_LENGTHS: Final = [pack(">ib", length + 1, 1) for length in range(4096)]
_JSONB_LENGTH: Final = Struct(">ib").pack
_NUMERIC_HEADER: Final = Struct(">ihhHh").pack

_POSTGRES_DAY: Final = date(2000, 1, 1).toordinal()
_POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_BOOLEANS: Final = {None: NULL, False: b"\x00\x00\x00\x01\x00", True: b"\x00\x00\x00\x01\x01"}
_NEGATIVE: Final = 0x4000
_NUMBER_LENGTH_MAX: Final = 80
_UUID_LENGTH: Final = 36
_UUID_HYPHENS: Final = (8, 13, 18, 23)


class NotPlainError(ValueError):
    """A value that needs patience: its row has to go as text."""


def _lengths(payloads: Sequence[bytes]) -> list[bytes]:
    try:
        return list(map(LENGTHS.__getitem__, map(len, payloads)))
    except IndexError:
        return list(map(_LENGTH, map(len, payloads)))


def _with_nulls(values: Values, encode: Encode) -> Parts:
    """Encode a column whose values may be None."""
    if None not in values:
        return encode(values)
    there = [value is not None for value in values]
    parts = encode(list(compress(values, there)))
    joined = map(b"".join, zip(*parts, strict=True)) if len(parts) > 1 else iter(parts[0])
    return [[next(joined) if each else NULL for each in there]]


def _strings(values: Values) -> Parts:
    # No text of the server has the character that stands between values here.
    payloads = "\x00".join(values).encode().split(b"\x00") if values else []
    if len(payloads) != len(values):
        raise NotPlainError("U+0000")
    return [_lengths(payloads), payloads]


def _bytes(values: Values) -> Parts:
    return [_lengths(values), values]


def _fixed(values: Values, code: str) -> Parts:
    """Encode numbers of eight bytes."""
    return [repeat(LENGTHS[8]), _cut(array(code, values), 8)]


def _integers(values: Values) -> Parts:
    return _fixed(values, "q")


def _doubles(values: Values) -> Parts:
    return _fixed(values, "d")


def _booleans(values: Values) -> Parts:
    return [map(_BOOLEANS.__getitem__, values)]


def _dates(values: Values) -> Parts:
    days = Struct(">ii").pack
    return [[days(4, value.toordinal() - _POSTGRES_DAY) for value in values]]


def _moments(values: Values) -> Parts:
    return _integers([(value - _POSTGRES_EPOCH) // _MICROSECOND for value in values])


def _uuids(values: Values) -> Parts:
    joined = "".join(values)
    count = len(values)
    plain = len(joined) == count * _UUID_LENGTH and all(
        joined[at::_UUID_LENGTH] == "-" * count for at in _UUID_HYPHENS
    )
    digits = joined.replace("-", "")
    if not plain or len(digits) != count * 32:
        raise NotPlainError("a uuid")
    packed = bytes.fromhex(digits)
    return [repeat(LENGTHS[16]), [packed[at : at + 16] for at in range(0, len(packed), 16)]]


def _jsonb(values: Values) -> Parts:
    joined = b"\x00".join(values)
    payloads = joined.split(b"\x00")
    if b"\\u" in joined:
        payloads = list(map(kit.storable, payloads))
    try:
        lengths = list(map(_JSONB_LENGTHS.__getitem__, map(len, payloads)))
    except IndexError:
        lengths = [_JSONB_LENGTH(len(payload) + 1, 1) for payload in payloads]
    if b"null" in payloads:
        absent = [payload == b"null" for payload in payloads]
        lengths = [NULL if a else length for a, length in zip(absent, lengths, strict=True)]
        payloads = [b"" if a else payload for a, payload in zip(absent, payloads, strict=True)]
    return [lengths, payloads]


def _numerics(values: Values) -> Parts:
    """Encode decimals: a header, then groups of four digits.

    Those of equally many decimal places have their groups equally far from their ends. Groups of
    zeros are left to the server to take away.
    """
    joined = b"\x00".join(values)
    if b'"null"' in joined:
        raise NotPlainError("no number")
    texts = joined.replace(b'"', b"").split(b"\x00")
    if b"null" in texts:
        return _with_nulls([None if text == b"null" else text for text in texts], _decimals)
    return _decimals(texts)


def _decimals(texts: Sequence[bytes]) -> Parts:
    dots = map(bytes.find, texts, repeat(b"."))
    places = [len(text) - dot - 1 if dot >= 0 else 0 for text, dot in zip(texts, dots, strict=True)]
    if len(set(places)) == 1:
        return _alike(texts, places[0])
    by_places: dict[int, list[bytes]] = defaultdict(list)
    for text, count in zip(texts, places, strict=True):
        by_places[count].append(text)
    encoded = {
        count: map(b"".join, zip(*_alike(found, count), strict=False))
        for count, found in by_places.items()
    }
    return [[next(encoded[count]) for count in places]]


def _alike(texts: Sequence[bytes], places: int) -> Parts:
    """Encode numbers of equally many decimal places."""
    signed = b"-" in b"".join(texts)
    digits = [text.removeprefix(b"-") for text in texts] if signed else texts
    longest = max(map(len, digits))
    if not all(digits) or longest > _NUMBER_LENGTH_MAX:
        raise NotPlainError("a number without digits, or with too many")
    tail = places + 1 if places else 0
    ends = range(-tail - -(-(longest - tail) // 4) * 4, -tail, 4)
    whole, part = _digit_groups()
    count = len(ends) + -(-places // 4)
    header, negative = (
        _NUMERIC_HEADER(8 + 2 * count, count, len(ends) - 1, sign, places)
        for sign in (0, _NEGATIVE)
    )
    try:
        groups = [[whole[each[at : at + 4 or None]] for each in digits] for at in ends]
        for at in range(-places, 0, 4):
            end = at + 4 if at < -4 else None
            groups.append([part[each[at:end]] for each in digits])
    except KeyError:
        raise NotPlainError("a number that isn't plain digits") from None
    if not signed:
        return [repeat(header), *groups]
    return [[negative if text[:1] == b"-" else header for text in texts], *groups]


@cache
def _digit_groups() -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Return up to four digits before the dot, and after it, as the server has them."""
    spelled = [(b"%0*d" % (length, number), length, number)
               for length in range(1, 5) for number in range(10**length)]  # fmt: skip
    whole = {text: number.to_bytes(2, "big") for text, _, number in spelled}
    part = {
        text: (number * 10 ** (4 - length)).to_bytes(2, "big") for text, length, number in spelled
    }
    return {b"": bytes(2), **whole}, part


def _cut(numbers: "array[Any]", width: int) -> list[bytes]:
    """Return numbers in the order of the network, as parts of so many bytes."""
    if byteorder == "little":
        numbers.byteswap()
    packed = numbers.tobytes()
    return [packed[at : at + width] for at in range(0, len(packed), width)]


_Moment = Annotated[datetime, msgspec.Meta(tz=True)]

# The type that values are decoded to, None for that of the reading; and how they are encoded.
_ENCODERS: Final[dict[tuple[str, kit.Reading], tuple[Any, Encode]]] = {
    ("BIGINT", kit.INT64): (None, _integers),
    ("DOUBLE PRECISION", kit.DOUBLE): (None, _doubles),
    ("BOOLEAN", kit.BOOLEAN): (None, _booleans),
    ("NUMERIC", readings.NUMERIC): (None, _numerics),
    ("TEXT", readings.TEXT): (None, _strings),
    ("CHARACTER VARYING", readings.TEXT): (None, _strings),
    (ENUM, readings.AS_SPELLED): (None, _strings),
    ("UUID", readings.AS_SPELLED): (None, _uuids),
    ("UUID", readings.UUID_KEY): (None, _uuids),
    ("BYTEA", readings.BYTEA): (None, _bytes),
    ("JSONB", readings.JSONB): (None, _jsonb),
    ("DATE", readings.DATE): (date | None, _dates),
    ("TIMESTAMP WITH TIME ZONE", readings.TIMESTAMPTZ): (_Moment | None, _moments),
}


def binary_rows(
    keys: Sequence[TargetColumn], values: Sequence[TargetColumn], *, document: bool
) -> RowsOf | None:
    """Return a function from arrays of keys and of values, and documents beside them, to rows.

    None where a column's type has no encoder. It raises NotPlainError for rows that have to go as
    text, be it that a column can't hold them.
    """
    parts = [_columns(columns) for columns in (keys, values)]
    decoders = [part for part in parts if part is not None]
    if len(decoders) < len(parts):
        return None
    count = pack(">h", len(keys) + len(values) + document)

    def rows_of(
        key_arrays: Sequence[bytes],
        value_arrays: Sequence[bytes],
        documents: Sequence[bytes] | None,
    ) -> bytes:
        found: Parts = [repeat(count, len(key_arrays))]
        for decoded, arrays in zip(decoders, (key_arrays, value_arrays), strict=True):
            found += decoded(arrays)
        if documents is not None:
            found += [_lengths(documents), documents]
        return _interleaved(found, len(key_arrays))

    return rows_of


def _interleaved(parts: Parts, rows: int) -> bytes:
    """Join the first parts of all, then the second: quicker than by a tuple per row."""
    width = len(parts)
    flat = [next(part) if isinstance(part, repeat) else b"" for part in parts] * rows
    for at, part in enumerate(parts):
        if not isinstance(part, repeat):
            flat[at::width] = part
    return b"".join(flat)


def _columns(columns: Sequence[TargetColumn]) -> Callable[[Sequence[bytes]], Parts] | None:
    known = [_ENCODERS.get((family(each.type.sql), each.type.reading)) for each in columns]
    found = [each for each in known if each is not None]
    if len(found) < len(known):
        return None
    wires = [wire or each.type.reading.wire for (wire, _), each in zip(found, columns, strict=True)]
    row_type: Any = tuple[tuple(wires)] if wires else tuple[()]  # type: ignore[misc]  # built
    decoder: msgspec.json.Decoder[list[tuple[Any, ...]]] = msgspec.json.Decoder(list[row_type])
    encoders = [encode for _, encode in found]
    raw = [wire is Raw for wire in wires]

    def decoded(arrays: Sequence[bytes]) -> Parts:
        if not columns:
            return []
        try:
            rows = decoder.decode(b"[" + b",".join(arrays) + b"]")
            parts: Parts = []
            for encode, own_nulls, column in zip(
                encoders, raw, zip(*rows, strict=True), strict=True
            ):
                parts += encode(column) if own_nulls else _with_nulls(column, encode)
        except (msgspec.MsgspecError, ValueError, OverflowError) as error:
            raise NotPlainError(str(error)) from error
        return parts

    return decoded
