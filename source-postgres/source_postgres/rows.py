"""Rows of a table turned into documents: what COPY sends, a block of many lines at a time.

COPY's text format separates fields by tabs and rows by line breaks, and escapes with a backslash
both of them, itself, and nulls. So a block is taken apart by splitting it, whatever it holds.

Documents are put together in one piece too: what stands between the values is the same in all of
them, so a list holds it as often as there are rows, the columns are laid into their places in it,
and one join makes the block. Most columns hold nothing that JSON would escape: their values go
between the quotes that stand there, untouched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Final

from estuary_cdk.protocol.codec import encode_json
from source_postgres.column_types import Mapped
from source_postgres.fitting import DOCUMENT_BYTES_MAX, fitted
from source_postgres.values import NULL, SEPARATOR, Column

_NULL: Final = b"\\N"
_LETTER: Final = itemgetter(slice(1))
_BEHIND_LETTER: Final = itemgetter(slice(1, None))
_OTHER: Final = b"N".__ne__
_ESCAPED_BACKSLASH: Final = b"\xfd"
_ESCAPES: Final[Mapping[bytes, bytes]] = {
    b"\\N": NULL,
    b"\\n": b"\n",
    b"\\t": b"\t",
    b"\\r": b"\r",
    b"\\b": b"\b",
    b"\\f": b"\f",
    b"\\v": b"\v",
}


def columns_of(block: bytes, types: Sequence[Mapped]) -> list[Column]:
    """Take a block of whole lines of COPY's text format apart, into columns."""
    width = len(types)
    first, *parts = block.split(b"\\")
    escaped = any(map(_OTHER, map(_LETTER, parts)))
    if parts and not escaped:
        # All are nulls; replacing two bytes by one takes three times as long.
        block = NULL.join([first, *map(_BEHIND_LETTER, parts)])
    fields = block.replace(b"\n", b"\t").split(b"\t")
    fields.pop()
    columns = [fields[index::width] for index in range(width)]
    if not escaped:
        return columns
    return [_unescaped(column, mapped) for column, mapped in zip(columns, types, strict=True)]


def _unescaped(column: Column, mapped: Mapped) -> Column:
    if mapped.simple:
        if _NULL in column:
            return [NULL if value == _NULL else value for value in column]
        return column
    joined = SEPARATOR.join(column)
    if b"\\" not in joined:
        return column
    joined = joined.replace(b"\\\\", _ESCAPED_BACKSLASH)
    for escape, raw in _ESCAPES.items():
        if b"\\" not in joined:
            break
        joined = joined.replace(escape, raw)
    return joined.replace(_ESCAPED_BACKSLASH, b"\\").split(SEPARATOR)


def numbers(values: Sequence[int]) -> list[bytes]:
    """Spell integers."""
    return str(list(values))[1:-1].encode().split(b", ")


@dataclass(frozen=True, slots=True)
class _Layout:
    """The pieces of one line; `places` are those of columns: first of `_meta`, then of values."""

    pieces: list[bytes]
    places: list[int]


class Template:
    """Documents of one shape, as lines of one binding's captured documents.

    `meta` is what surrounds the columns of `_meta`: one part more than there are columns.
    """

    def __init__(
        self, binding: int, meta: Sequence[bytes], names: Sequence[str], types: Sequence[Mapped]
    ) -> None:
        self._head = b'{"captured":{"binding":%d,"doc":' % binding
        self._tail = b"}}\n"
        self._meta = meta
        self._names = [encode_json(name) for name in names]
        self._types = types
        self._layouts: dict[tuple[bool, ...], _Layout] = {}

    def lines(self, meta: Sequence[Sequence[bytes]], columns: Sequence[Column], rows: int) -> bytes:
        """Return the lines of so many rows, given as columns; `meta` are the columns of `_meta`.

        Equal to what `captured_block` makes of the documents.
        """
        values: list[Sequence[bytes]] = list(meta)
        quoted = []
        for mapped, column in zip(self._types, columns, strict=True):
            bare = mapped.bare(column) if mapped.bare else None
            quoted.append(bare is not None)
            values.append(mapped.convert(column) if bare is None else bare)
        layout = self._layout(tuple(quoted))
        pieces = layout.pieces * rows
        width = len(layout.pieces)
        for place, filling in zip(layout.places, values, strict=True):
            pieces[place::width] = filling
        block = b"".join(pieces)
        if len(block) <= DOCUMENT_BYTES_MAX:
            return block
        every = [pieces[at : at + width] for at in range(0, len(pieces), width)]
        return b"".join([self._fitted(line, layout, quoted) for line in every])

    def _fitted(self, line: list[bytes], layout: _Layout, quoted: Sequence[bool]) -> bytes:
        """Join a line, with the largest values of its document cut if that is too large."""
        document_bytes = sum(map(len, line)) - len(self._head) - len(self._tail)
        if document_bytes <= DOCUMENT_BYTES_MAX:
            return b"".join(line)
        values = [line[place] for place in layout.places[len(self._meta) - 1 :]]
        marked = [
            b'"%b"' % value if text else value for value, text in zip(values, quoted, strict=True)
        ]
        rest = document_bytes - sum(map(len, marked))
        encoded = [mapped.encoded for mapped in self._types]
        cut = fitted(marked, DOCUMENT_BYTES_MAX - rest, encoded)
        plain = self._layout((False,) * len(cut))
        meta = [line[place] for place in layout.places[: len(self._meta) - 1]]
        pieces = list(plain.pieces)
        for place, value in zip(plain.places, [*meta, *cut], strict=True):
            pieces[place] = value
        return b"".join(pieces)

    def _layout(self, quoted: tuple[bool, ...]) -> _Layout:
        found = self._layouts.get(quoted)
        if found is None:
            *surrounding, after = self._meta
            between = [*surrounding]
            between[0] = self._head + b'{"_meta":' + between[0]
            for name, text in zip(self._names, quoted, strict=True):
                between.append(b"%b,%b:%b" % (after, name, b'"' if text else b""))
                after = b'"' if text else b""
            between.append(after + b"}" + self._tail)
            pieces: list[bytes] = []
            places = []
            for part in between[:-1]:
                # Nothing needs no place: columns of `_meta` follow each other.
                pieces += [part] if part else []
                places.append(len(pieces))
                pieces.append(b"")
            found = self._layouts[quoted] = _Layout([*pieces, between[-1]], places)
        return found
