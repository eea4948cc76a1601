"""Values made of values, in PostgreSQL's text form: arrays, composites and hstores.

All quote with double quotes and escape with a backslash; composites also double a quote inside
quotes. Elements are converted together, a column of them.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from source_postgres.values import NULL, Column, Converter, text, verbatim

# A quoted or an unquoted token, an opening or a closing brace, or a delimiter.
_ARRAY: Final = {
    delimiter: re.compile(
        rb'"((?:[^"\\]|\\.)*)"|([{}%b])|([^"{}%b]+)' % (delimiter, delimiter), re.DOTALL
    )
    for delimiter in (b",", b";")
}
_ESCAPED: Final = re.compile(rb"\\(.)", re.DOTALL)
_FIELD: Final = re.compile(rb'((?:"(?:[^"\\]|\\.|"")*"|[^",\\]|\\.)*)(,|$)', re.DOTALL)
_QUOTED_PART: Final = re.compile(rb'"((?:[^"\\]|\\.|"")*)"|\\(.)|([^"\\]+)', re.DOTALL)
_INNER: Final = re.compile(rb'\\(.)|"(")', re.DOTALL)
_PAIR: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"=>(?:"((?:[^"\\]|\\.)*)"|(NULL))', re.DOTALL)
_BRACKETS: Final = {b"{": b"[", b"}": b"]", b",": b",", b";": b","}
_PLAIN_DIGITS: Final = b"0123456789-,{}"


def exact_arrays(column: Column) -> Column:
    """Convert arrays whose elements are integers: only the brackets differ from JSON's."""
    joined = b"".join(column)
    if joined.translate(None, _PLAIN_DIGITS):
        return [b"null" if value == NULL else array(value, verbatim, b",") for value in column]
    return [value.replace(b"{", b"[").replace(b"}", b"]") for value in column]


def array(value: bytes, convert: Converter, delimiter: bytes) -> bytes:
    """Convert an array to JSON, nested as deep as it has dimensions; lower bounds are left out."""
    start = value.index(b"{")
    elements: Column = []
    shape: list[bytes] = []
    for quoted, structure, bare in _ARRAY[delimiter].findall(value, start):
        if structure:
            shape.append(structure)
        elif bare:
            shape.append(b"")
            elements.append(NULL if bare.upper() == b"NULL" else bare)
        else:
            shape.append(b"")
            elements.append(_ESCAPED.sub(rb"\1", quoted))
    converted = iter(convert(elements) if elements else [])
    parts = [_BRACKETS.get(mark) or next(converted) for mark in shape]
    return b"".join(parts)


def composite(fields: Sequence[tuple[str, Converter]]) -> Callable[[bytes], bytes]:
    """Return a function that converts values of a composite type to objects."""
    from estuary_cdk.protocol.codec import encode_json

    heads = [encode_json(name) + b":" for name, _ in fields]
    converters = [convert for _, convert in fields]

    return partial(_composite, heads, converters)


def _composite(heads: Sequence[bytes], converters: Sequence[Converter], value: bytes) -> bytes:
    parts = _fields(value[1:-1]) if heads else []
    members = [
        head + convert([part])[0]
        for head, convert, part in zip(heads, converters, parts, strict=True)
    ]
    return b"{%b}" % b",".join(members)


def _fields(inner: bytes) -> Column:
    fields: Column = []
    at = 0
    while True:
        found = _FIELD.match(inner, at)
        assert found is not None, "a composite's text form always reads as fields"
        fields.append(_field(found[1]))
        at = found.end()
        if not found[2]:
            return fields


def _field(raw: bytes) -> bytes:
    if not raw:
        return NULL
    return b"".join(
        bare or escaped or _INNER.sub(lambda m: m[1] or m[2], quoted)
        for quoted, escaped, bare in _QUOTED_PART.findall(raw)
    )


def hstore(value: bytes) -> bytes:
    """Convert an hstore to an object of strings and nulls."""
    members = []
    for key, item, null in _PAIR.findall(value):
        [name] = text([_ESCAPED.sub(rb"\1", key)])
        [member] = [b"null"] if null else text([_ESCAPED.sub(rb"\1", item)])
        members.append(name + b":" + member)
    return b"{%b}" % b",".join(members)
