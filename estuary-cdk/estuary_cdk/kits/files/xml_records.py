"""XML to records: the children of the root element, or the elements of a chosen name.

An element with neither attributes nor children is its text, null without any. Others are objects:
attributes with an `@` in front, children by their names (several of one name as an array), and
their own text, if there is any, as `#text`. Names have no namespaces. Every value is a string.

Elements are read and let go of one by one. No entity is expanded but XML's own five, no other
document is loaded, and the depth of elements is limited by the parser.
"""

from typing import Any, Final

import msgspec

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files.libraries import library

RECORD_BYTES_MAX: Final = 1 << 26
SLICE_BYTES: Final = 1 << 16

_encoded_lines = msgspec.json.Encoder().encode_lines


class XmlRecords:
    """A parser of one file: `feed` blocks of bytes, then `finish`; see `formats.Parser`.

    Raises DataError that names file, line and column of what isn't well-formed, of an entity of the
    file's own, and of a record longer than `RECORD_BYTES_MAX`.
    """

    def __init__(self, file: str, element: str | None = None) -> None:
        etree: Any = library("lxml.etree", "XML files")
        self._error = etree.XMLSyntaxError
        self._entity = etree.Entity
        self._file = file
        self._element = element
        self._parser = etree.XMLPullParser(
            events=("end",), resolve_entities=False, load_dtd=False, no_network=True,
            remove_comments=True, remove_pis=True, huge_tree=False,
        )  # fmt: skip
        self._bytes = 0

    def feed(self, block: bytes) -> list[bytes]:
        records: list[bytes] = []
        for start in range(0, len(block), SLICE_BYTES):
            part = block[start : start + SLICE_BYTES]
            try:
                self._parser.feed(part)
            except self._error as error:
                raise self._malformed(error) from error
            self._bytes += len(part)
            found = self._taken()
            if found:
                self._bytes = 0
                records += [line[1:] for line in _encoded_lines(found).split(b"\n")[:-1]]
            if self._bytes > RECORD_BYTES_MAX:
                raise self._unreadable(f"a record is longer than {RECORD_BYTES_MAX} bytes")
        return records

    def finish(self) -> list[bytes]:
        try:
            self._parser.close()
        except self._error as error:
            raise self._malformed(error) from error
        return [line[1:] for line in _encoded_lines(self._taken()).split(b"\n")[:-1]]

    def _taken(self) -> list[dict[str, Any]]:
        found = []
        for _, element in self._parser.read_events():
            if self._is_record(element):
                value = self._value(element)
                found.append(value if isinstance(value, dict) else {"#text": value})
                _let_go(element)
        return found

    def _is_record(self, element: Any) -> bool:
        parent = element.getparent()
        if self._element is None:
            return parent is not None and parent.getparent() is None
        return _name(element) == self._element and not any(
            _name(each) == self._element for each in element.iterancestors()
        )

    def _value(self, element: Any) -> Any:
        if element.tag is self._entity:
            raise self._unreadable(
                f"line {element.sourceline}: it uses the entity {element.text}, and entities of a "
                f"file's own aren't expanded"
            )
        members: dict[str, Any] = {f"@{_local(key)}": text for key, text in element.items()}
        texts = [element.text or ""]
        for child in element:
            value, name = self._value(child), _name(child)
            if name not in members:
                members[name] = value
            elif isinstance(members[name], _Several):
                members[name].append(value)
            else:
                members[name] = _Several((members[name], value))
            texts.append(child.tail or "")
        if not members:
            return element.text or None
        text = "".join(texts).strip()
        return members | {"#text": text} if text else members

    def _malformed(self, error: Any) -> DataError:
        line, column = error.position
        return DataError(
            f"can't read {self._file!r} line {line}, column {column}: not well-formed XML: "
            f"{error.msg}",
            file=self._file,
            line=line,
        )

    def _unreadable(self, reason: str) -> DataError:
        return DataError(f"can't read {self._file!r}: {reason}", file=self._file)


class _Several(list[Any]):
    """The values of several elements of one name."""


def _name(element: Any) -> str:
    return _local(element.tag) if isinstance(element.tag, str) else ""


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _let_go(element: Any) -> None:
    """Forget an element, and what is complete before it and its ancestors."""
    element.clear(keep_tail=True)
    while element is not None:
        parent = element.getparent()
        while parent is not None and element.getprevious() is not None:
            del parent[0]
        element = parent
