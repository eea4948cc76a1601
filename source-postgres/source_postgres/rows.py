"""Rows of a table turned into documents: what COPY sends, a block of many lines at a time.

COPY's text format separates fields by tabs and rows by line breaks, and escapes with a backslash
both of them, itself, and nulls. So a block is taken apart by splitting it, whatever it holds.

A document is a `%` template with a place per column. Most columns hold nothing that JSON would
escape: their values go between quotes of the template, untouched.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from estuary_cdk.protocol.codec import encode_json
from source_postgres.column_types import Mapped
from source_postgres.fitting import DOCUMENT_BYTES_MAX, fitted
from source_postgres.values import NULL, SEPARATOR, Column

_NULL: Final = b"\\N"
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
    if b"\\" in block and b"\\\\" not in block:
        # Then a backslash is never a part of a value, and these are nulls.
        block = block.replace(_NULL, NULL)
    escaped = b"\\" in block
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


class Template:
    """Documents of one shape: their `_meta`, itself a template, and the members of a row."""

    def __init__(self, meta: bytes, names: Sequence[str], types: Sequence[Mapped]) -> None:
        self._meta = meta
        self._names = [encode_json(name).replace(b"%", b"%%") for name in names]
        self._types = types
        self._forms: dict[tuple[bool, ...], bytes] = {}

    def documents(self, meta: Sequence[Sequence[object]], columns: Sequence[Column]) -> list[bytes]:
        """Return the documents of rows, given as columns; `meta` are columns for its places."""
        values: list[Column] = []
        quoted = []
        for mapped, column in zip(self._types, columns, strict=True):
            bare = mapped.bare(column) if mapped.bare else None
            quoted.append(bare is not None)
            values.append(mapped.convert(column) if bare is None else bare)
        form = self._form(tuple(quoted))
        documents = list(map(form.__mod__, zip(*meta, *values, strict=True)))
        if max(map(len, documents), default=0) > DOCUMENT_BYTES_MAX:
            rows = zip(documents, zip(*meta, strict=True), zip(*values, strict=True), strict=True)
            return [self._fitted(document, head, row, quoted) for document, head, row in rows]
        return documents

    def _fitted(
        self,
        document: bytes,
        meta: Sequence[object],
        row: Sequence[bytes],
        quoted: Sequence[bool],
    ) -> bytes:
        """Return a document with its largest values cut, if it is too large."""
        if len(document) <= DOCUMENT_BYTES_MAX:
            return document
        marked = [
            b'"%b"' % value if text else value for value, text in zip(row, quoted, strict=True)
        ]
        rest = len(document) - sum(map(len, marked))
        cut = fitted(marked, DOCUMENT_BYTES_MAX - rest)
        return self._form((False,) * len(cut)) % (*meta, *cut)

    def _form(self, quoted: tuple[bool, ...]) -> bytes:
        form = self._forms.get(quoted)
        if form is None:
            members = b"".join(
                b",%b:%b" % (name, b'"%b"' if text else b"%b")
                for name, text in zip(self._names, quoted, strict=True)
            )
            form = self._forms[quoted] = b'{"_meta":%b%b}' % (self._meta, members)
        return form
