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
from functools import lru_cache
from itertools import chain, compress, repeat
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
_Shape = tuple[int, int, bool]
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
# Four digits, as the machine reads their bytes as one number, to what they spell.
_GROUPS: Final = {int.from_bytes(b"%04d" % group, byteorder): group for group in range(10_000)}
_NEGATIVE: Final = 0x4000
_WHOLE_MAX: Final = 100_000
_PADDED_MAX: Final = 32
_SCALE_MAX: Final = 16_000
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

    Numbers of equal length with their dot at the same place have the same header and are encoded
    together. Groups of zeros are left to the server to take away.
    """
    joined = b"\x00".join(values)
    if b'"null"' in joined:
        raise NotPlainError("no number")
    texts = joined.replace(b'"', b"").split(b"\x00")
    if b"null" in texts:
        return _with_nulls([None if text == b"null" else text for text in texts], _decimals)
    return _decimals(texts)


def _decimals(texts: Sequence[bytes]) -> Parts:
    if texts and b"-" not in b"".join(texts):
        width, dot = max(map(len, texts)), texts[0].find(b".") - len(texts[0])
        if width <= _PADDED_MAX and {text[dot : dot + 1] for text in texts} == {b"."}:
            # Amounts, all of so many decimal places: zeros before them make them equally long.
            return [_alike((width, width + dot, False), [t.rjust(width, b"0") for t in texts])]
    signs = map(bytes.startswith, texts, repeat(b"-"))
    shapes = list(zip(map(len, texts), map(bytes.find, texts, repeat(b".")), signs, strict=True))
    by_shape: dict[_Shape, list[bytes]] = defaultdict(list)
    for shape, text in zip(shapes, texts, strict=True):
        by_shape[shape].append(text)
    if len(by_shape) == 1:
        return [_alike(shapes[0], texts)]
    encoded = {shape: iter(_alike(shape, found)) for shape, found in by_shape.items()}
    return [[next(encoded[shape]) for shape in shapes]]


def _alike(shape: _Shape, texts: Sequence[bytes]) -> list[bytes]:
    """Encode decimals of one shape: their length, the place of their dot, whether negative."""
    length, dot, negative = shape
    whole = (length if dot < 0 else dot) - negative
    part = 0 if dot < 0 else length - dot - 1
    header, left, right, width = _numeric_shape(whole, part, _NEGATIVE if negative else 0)
    digits = b",".join(texts).translate(None, b".-")
    if len(digits) != len(texts) * (whole + part + 1) - 1:
        raise NotPlainError("a number that isn't plain digits")
    padded = left + digits.replace(b",", right + left) + right
    try:
        groups = array("H", map(_GROUPS.__getitem__, array("I", padded)))
    except KeyError:
        raise NotPlainError("a number that isn't plain digits") from None
    return [header + body for body in _cut(groups, width)]


def _cut(numbers: "array[Any]", width: int) -> list[bytes]:
    """Return numbers in the order of the network, as parts of so many bytes."""
    if byteorder == "little":
        numbers.byteswap()
    packed = numbers.tobytes()
    return [packed[at : at + width] for at in range(0, len(packed), width)]


@lru_cache(maxsize=1000)
def _numeric_shape(whole: int, part: int, sign: int) -> tuple[bytes, bytes, bytes, int]:
    """Return a header, the zeros before and after that make groups of four, the groups' bytes."""
    if not 0 < whole <= _WHOLE_MAX or part > _SCALE_MAX:
        raise NotPlainError("a number that isn't plain digits, or has too many")
    left, right = -whole % 4, -part % 4
    count = (left + whole + part + right) // 4
    header = _NUMERIC_HEADER(8 + 2 * count, count, (left + whole) // 4 - 1, sign, part)
    return header, b"0" * left, b"0" * right, 2 * count


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
        return b"".join(chain.from_iterable(zip(*found, strict=False)))

    return rows_of


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
