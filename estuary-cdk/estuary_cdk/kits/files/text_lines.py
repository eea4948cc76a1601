"""Lines of text, cut from blocks of bytes in any encoding: plain lines, and W3C extended logs.

A W3C log names its columns in a `#Fields:` line, and may do so again; other lines that begin with a
number sign say things about the log and are passed over. Cells stand between blanks, a hyphen for
none. They are typed as those of CSV files are.
"""

import re
from typing import Final

import orjson

from estuary_cdk.kits.files.csv_rows import CsvRows
from estuary_cdk.kits.files.encoding import Utf8
from estuary_cdk.kits.files.json_records import unreadable
from estuary_cdk.kits.files.options import CsvOptions

LINE_BYTES_MAX: Final = 1 << 26
FIELDS: Final = b"#Fields:"
BLANKS: Final = re.compile(rb"[ \t]+")
NO_VALUE: Final = re.compile(rb"(?<![^\t\n])-(?![^\t\r\n])")
QUOTED: Final = re.compile(rb'("(?:[^"\n]|"")*")')


class TextLines:
    """Cuts one file into lines, without what ends them; an empty last one is none.

    A line longer than `LINE_BYTES_MAX` is a DataError that names file and line.
    """

    def __init__(self, file: str, encoding: str) -> None:
        self.count = 0
        self._file = file
        self._utf8 = Utf8(file, encoding)
        self._open: list[bytes] = []
        self._open_bytes = 0

    def feed(self, block: bytes) -> list[bytes]:
        return self._cut(self._utf8.feed(block))

    def finish(self) -> list[bytes]:
        lines = self._cut(self._utf8.finish())
        last = b"".join(self._open)
        self.count += bool(last)
        return [*lines, last] if last else lines

    def _cut(self, text: bytes) -> list[bytes]:
        *lines, rest = text.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._open, lines[0]))
            self._open, self._open_bytes = [], 0
        self._open.append(rest)
        self._open_bytes += len(rest)
        self.count += len(lines)
        if self._open_bytes > LINE_BYTES_MAX:
            reason = f"the line is longer than {LINE_BYTES_MAX} bytes"
            raise unreadable(self._file, self.count + 1, 1, reason)
        return lines


class PlainLines:
    """A parser of one file, a record per line: `{"line": "..."}`; see `formats.Parser`."""

    def __init__(self, file: str, encoding: str) -> None:
        self._lines = TextLines(file, encoding)

    def feed(self, block: bytes) -> list[bytes]:
        return _records(self._lines.feed(block))

    def finish(self) -> list[bytes]:
        return _records(self._lines.finish())


def _records(lines: list[bytes]) -> list[bytes]:
    return [b'"line":%b}' % orjson.dumps(line.removesuffix(b"\r").decode()) for line in lines]


class W3cLog:
    """A parser of one file: `feed` blocks of bytes, then `finish`; see `formats.Parser`."""

    def __init__(self, file: str, encoding: str) -> None:
        self._file = file
        self._lines = TextLines(file, encoding)
        self._rows: CsvRows | None = None

    @property
    def schema(self) -> bytes | None:
        """The sourced schema of the entries that were read last."""
        return self._rows.schema if self._rows else None

    def feed(self, block: bytes) -> list[bytes]:
        return self._read(self._lines.feed(block))

    def finish(self) -> list[bytes]:
        records = self._read(self._lines.finish())
        return records + (self._rows.finish() if self._rows else [])

    def _read(self, lines: list[bytes]) -> list[bytes]:
        records: list[bytes] = []
        first = self._lines.count - len(lines) + 1
        entries: list[bytes] = []
        for number, line in enumerate(lines, start=first):
            if not line.startswith(b"#"):
                if self._rows is None and line.strip():
                    reason = "no line before it names the fields"
                    raise unreadable(self._file, number, 1, reason)
                entries.append(line)
            elif line.startswith(FIELDS):
                records += self._feed(entries)
                records += self._rows.finish() if self._rows else []
                self._rows = self._columns(line, number)
                entries = []
            else:
                entries.append(b"")  # which is no row, and keeps the numbers of lines
        return records + self._feed(entries)

    def _columns(self, line: bytes, number: int) -> CsvRows:
        names = line.removeprefix(FIELDS).decode().split()
        if not names:
            raise unreadable(self._file, number, 1, "it names no field")
        options = CsvOptions(delimiter="\t", headers=tuple(names))
        return CsvRows(self._file, "utf-8", options, lines_before=number)

    def _feed(self, entries: list[bytes]) -> list[bytes]:
        if self._rows is None or not entries:
            return []
        text = b"\n".join([line.strip() for line in entries]) + b"\n"
        parts = QUOTED.split(text)
        parts[::2] = [BLANKS.sub(b"\t", part) for part in parts[::2]]
        return self._rows.feed(NO_VALUE.sub(b"", b"".join(parts)))
