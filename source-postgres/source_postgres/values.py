"""PostgreSQL's text form of values turned into JSON text, a column of many rows at a time.

A converter takes a column: the text form of one column's values in some rows, as bytes, with NULL
for null. It returns as many JSON texts. Working on the joined column with the fast operations of
bytes costs a tenth of what a function call per value does; the rare value that needs more is looked
at alone.

Text from a server whose `client_encoding` is UTF8 holds no zero byte and none of 0xC0, 0xC1,
0xF5-0xFF, which are free for SEPARATOR and NULL.

The session that produced the text has to have SESSION_SETTINGS. Converters can be pickled: another
process may do the work.
"""

import re
from binascii import b2a_base64, unhexlify
from collections.abc import Callable, Mapping
from functools import partial
from operator import itemgetter
from typing import Final

from estuary_cdk.logs import get_logger

log = get_logger(__name__)

NULL: Final = b"\xfe"
SEPARATOR: Final = b"\xff"

# What a value is cut to: documents have to stay below 16 MiB with all their columns.
VALUE_BYTES_MAX: Final = 8 << 20

SESSION_SETTINGS: Final[Mapping[str, str]] = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, MDY",
    "intervalstyle": "iso_8601",
    "timezone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "xmloption": "content",
}

Column = list[bytes]
Converter = Callable[[Column], Column]
Bare = Callable[[Column], Column | None]
"""Returns what to put between quotes, None unless that is all the values of a column need."""

_CONTROLS: Final = bytes(range(32))
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_ESCAPES: Final = {
    bytes([code]): short or b"\\u%04x" % code
    for code in range(32)
    for short in [
        {8: b"\\b", 9: b"\\t", 10: b"\\n", 12: b"\\f", 13: b"\\r"}.get(code),
    ]
}
_FIFTH: Final = itemgetter(4)
# Whole groups of three, which base64 has four characters for.
_GROUPS_MAX: Final = VALUE_BYTES_MAX // 3
_HEX_MAX: Final = 2 + 6 * _GROUPS_MAX
# Without the prefix; nothing is left of a NULL.
_DIGITS: Final = itemgetter(slice(2, _HEX_MAX))
_SURROGATE: Final = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2})?"
    rb"|\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def verbatim(column: Column) -> Column:
    """Convert what is JSON already: integers, and arrays of numbers in JSON's brackets."""
    if NULL in b"".join(column):
        return [b"null" if value == NULL else value for value in column]
    return column


def plain(column: Column) -> Column:
    """Convert text that is known to need no escapes: numbers to be strings, uuids, addresses."""
    return _quoted(SEPARATOR.join(column))


def bare_plain(column: Column) -> Column | None:
    """Do what `plain` does, without the quotes."""
    return None if NULL in b"".join(column) else column


def bare_text(column: Column) -> Column | None:
    """Do what `text` does, without the quotes."""
    joined = SEPARATOR.join(column)
    clean = not (NULL in joined or b"\\" in joined or b'"' in joined)
    if clean and len(joined) <= VALUE_BYTES_MAX and joined.translate(None, _CONTROLS) == joined:
        return column
    return None


def text(column: Column) -> Column:
    """Convert text of any kind."""
    joined = b'"\xff"'.join(column)
    usual = joined.count(b'"') == 2 * (len(column) - 1) and b"\\" not in joined
    if usual and len(joined) <= VALUE_BYTES_MAX and joined.translate(None, _CONTROLS) == joined:
        quoted = b'"%b"' % joined
        if NULL in quoted:
            quoted = quoted.replace(b'"\xfe"', b"null")
        return quoted.split(SEPARATOR)
    joined = SEPARATOR.join(column)
    if len(joined) > VALUE_BYTES_MAX:
        joined = SEPARATOR.join([_cut(value) for value in column])
    return _quoted(escaped(joined))


def escaped(joined: bytes) -> bytes:
    """Escape for the inside of a JSON string."""
    if b"\\" in joined:
        joined = joined.replace(b"\\", b"\\\\")
    if b'"' in joined:
        joined = joined.replace(b'"', b'\\"')
    if len(joined.translate(None, _CONTROLS)) != len(joined):
        joined = _CONTROL.sub(lambda found: _ESCAPES[found[0]], joined)
    return joined


def _quoted(joined: bytes) -> Column:
    quoted = b'"%b"' % joined.replace(SEPARATOR, b'"\xff"')
    if NULL in quoted:
        quoted = quoted.replace(b'"\xfe"', b"null")
    return quoted.split(SEPARATOR)


def _cut(value: bytes) -> bytes:
    """Cut a text that is too long, at the end of a character."""
    if len(value) <= VALUE_BYTES_MAX:
        return value
    log.warning("a text is cut: it is too long", bytes=len(value), bytes_max=VALUE_BYTES_MAX)
    return value[:VALUE_BYTES_MAX].decode(errors="ignore").encode() + cut_mark(len(value))


def cut_mark(size: int) -> bytes:
    """Return what ends a text or bytes that were cut, and had this size in bytes."""
    return b" [flow_truncated: original_size=%d]" % size


def boolean(column: Column) -> Column:
    """Convert t and f."""
    words = {b"t": b"true", b"f": b"false", NULL: b"null"}
    return [words[value] for value in column]


def floating(column: Column) -> Column:
    """Convert floats; what JSON has no number for is a string."""
    joined = SEPARATOR.join(column)
    if b"N" in joined or b"I" in joined or NULL in joined:
        return [_float(value) for value in column]
    return column


def _float(value: bytes) -> bytes:
    if value == NULL:
        return b"null"
    return b'"%b"' % value if value.strip(b"-")[:1] in {b"N", b"I"} else value


def bare_date(column: Column) -> Column | None:
    """Do what `date` does, without the quotes."""
    joined = SEPARATOR.join(column)
    usual = len(joined) == 11 * len(column) - 1 and not (b"i" in joined or b"C" in joined)
    return column if usual else None


def bare_bytea(column: Column) -> Column | None:
    """Do what `bytea` does, without the quotes."""
    return None if NULL in b"".join(column) else _encoded(column)


def bytea(column: Column) -> Column:
    """Convert bytes to base64."""
    return [
        b"null" if value == NULL else b'"%b"' % text
        for value, text in zip(column, _encoded(column), strict=True)
    ]


def _encoded(column: Column) -> Column:
    # Base64 comes with a line break, which is as good as a separator.
    encoded = b"".join(map(b2a_base64, map(unhexlify, map(_DIGITS, column)))).split(b"\n")
    encoded.pop()
    if max(map(len, column), default=0) > _HEX_MAX:
        return [
            text + _encoded_mark((len(value) - 2) // 2) if len(value) > _HEX_MAX else text
            for value, text in zip(column, encoded, strict=True)
        ]
    return encoded


def _encoded_mark(size: int) -> bytes:
    log.warning("bytes are cut: they are too long", bytes=size, bytes_max=VALUE_BYTES_MAX)
    return b2a_base64(cut_mark(size), newline=False)


def bare_base64(column: Column) -> Column | None:
    """Put bytes that the server has turned into base64, in lines, between quotes."""
    joined = SEPARATOR.join(column)
    if NULL in joined:
        return None
    if b"\n" not in joined:
        # A line is short.
        return column
    return list(map(_base64_cut, joined.replace(b"\n", b"").split(SEPARATOR)))


def base64(column: Column) -> Column:
    """Convert bytes that the server has turned into base64, in lines."""
    bare = bare_base64([b"" if value == NULL else value for value in column])
    assert bare is not None
    return [
        b"null" if value == NULL else b'"%b"' % text
        for value, text in zip(column, bare, strict=True)
    ]


def _base64_cut(text: bytes) -> bytes:
    if len(text) <= 4 * _GROUPS_MAX:
        return text
    size = len(text) // 4 * 3 - text.count(b"=", -2)
    return text[: 4 * _GROUPS_MAX] + _encoded_mark(size) if size > 3 * _GROUPS_MAX else text


def date(column: Column) -> Column:
    """Convert dates; what is outside years 1-9999 becomes the nearest end."""
    joined = SEPARATOR.join(column)
    if len(joined) != 11 * len(column) - 1 or b"i" in joined or b"C" in joined:
        return [b"null" if value == NULL else _date(value) for value in column]
    return _quoted(joined)


def _date(value: bytes) -> bytes:
    if value == b"infinity":
        return b'"9999-12-31"'
    if value == b"-infinity":
        return b'"0000-01-01"'
    if value.endswith(b"BC"):
        return b'"0001-01-01"'
    return b'"%b"' % (value if len(value) == 10 else b"9999-12-31")


def bare_timestamp(column: Column) -> Column | None:
    """Do what `timestamp` does, without the quotes."""
    joined = SEPARATOR.join(column)
    if _unusual(column, joined):
        return None
    return (b"%bZ" % joined.replace(b" ", b"T").replace(SEPARATOR, b"Z\xff")).split(SEPARATOR)


def timestamp(column: Column) -> Column:
    """Convert timestamps without a time zone, taken as UTC; ends as with `date`."""
    return [b"null" if value == NULL else _timestamp(value + b"+00") for value in column]


def bare_timestamptz(column: Column) -> Column | None:
    """Do what `timestamptz` does, without the quotes."""
    joined = SEPARATOR.join(column)
    if _unusual(column, joined):
        return None
    moments = joined.replace(b" ", b"T").replace(b"+00\xff", b"Z\xff")
    return (b"%bZ" % moments[:-3]).split(SEPARATOR)


def timestamptz(column: Column) -> Column:
    """Convert moments in UTC; ends as with `date`."""
    return [b"null" if value == NULL else _timestamp(value) for value in column]


def _unusual(column: Column, joined: bytes) -> bool:
    if NULL in joined or b"i" in joined or b"C" in joined:
        return True
    # A year of four digits, in all of them.
    return bytes(map(_FIFTH, column)).count(b"-") != len(column)


def _timestamp(value: bytes) -> bytes:
    if value.startswith(b"infinity"):
        return b'"9999-12-31T23:59:59Z"'
    if value.startswith(b"-infinity"):
        return b'"0000-01-01T00:00:00Z"'
    if b"BC" in value:
        return b'"0001-01-01T00:00:00Z"'
    if value.index(b"-") != 4:
        return b'"9999-12-31T23:59:59Z"'
    return b'"%bZ"' % value.removesuffix(b"+00").replace(b" ", b"T")


def time(column: Column) -> Column:
    """Convert times of day, taken as UTC."""
    return [b"null" if value == NULL else b'"%bZ"' % value for value in column]


def timetz(column: Column) -> Column:
    """Convert times of day with an offset, whose minutes RFC 3339 wants."""
    return [b"null" if value == NULL else b'"%b"' % _offset(value) for value in column]


def _offset(value: bytes) -> bytes:
    return value + b":00" if value[-3:-2] in {b"+", b"-"} else value


def json(column: Column) -> Column:
    """Convert JSON, byte for byte but for line breaks between tokens and lone surrogates."""
    joined = SEPARATOR.join(column)
    long = len(joined) > VALUE_BYTES_MAX
    if long:
        joined = SEPARATOR.join([_json_cut(value) for value in column])
    if NULL in joined:
        joined = joined.replace(NULL, b"null")
    elif not (b"\\" in joined or b"\n" in joined or b"\r" in joined):
        return joined.split(SEPARATOR) if long else column
    if b"\n" in joined or b"\r" in joined:
        # Inside strings they are escaped: these are whitespace.
        joined = joined.replace(b"\n", b" ").replace(b"\r", b" ")
    if b"\\ud" in joined or b"\\uD" in joined:
        joined = _SURROGATE.sub(_repaired, joined)
    return joined.split(SEPARATOR)


def _json_cut(value: bytes) -> bytes:
    if len(value) <= VALUE_BYTES_MAX:
        return value
    return b'{"flow_truncated":true,"original_size":%d}' % len(value)


def _repaired(found: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if len(found[0]) == 6 else found[0]


def each(convert: Callable[[bytes], bytes]) -> Converter:
    """Return a converter of values that have to be looked at one by one."""
    return partial(_each, convert)


def _each(convert: Callable[[bytes], bytes], column: Column) -> Column:
    return [b"null" if value == NULL else convert(value) for value in column]
