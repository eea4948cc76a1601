"""JSON lines: one object per line, each verified by itself, empty lines passed over."""

import msgspec

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files.encoding import Utf8
from estuary_cdk.kits.files.json_records import BLANKS, record, unreadable

LINE_BYTES_MAX = 1 << 26
VERIFY_LINES = msgspec.json.Decoder(msgspec.Raw).decode_lines


def compact_records(lines: list[bytes]) -> list[bytes] | None:
    """Return the records of lines that are an object each, without blanks around it or in front.

    None for any other lines, valid or not: they have to be looked at one by one.
    """
    text = b"\n".join(lines)
    if b"\r" in text:
        text = text.replace(b"}\r\n{", b"}\n{").removesuffix(b"\r")
    # Inside an object, a brace that closes is never followed by one that opens. So a line break
    # between two such is between two objects, and as many objects as lines are one in each.
    if not text.startswith(b'{"') or text.count(b'}\n{"') != len(lines) - 1 or b"\r" in text:
        return None
    try:
        if len(VERIFY_LINES(text)) != len(lines):
            return None
    except (msgspec.DecodeError, RecursionError):
        return None
    return text[1:].split(b"\n{") if text.endswith(b"}") else None


class JsonLines:
    """A parser of one file: `feed` blocks of bytes, then `finish`; see `formats.Parser`.

    A line that isn't a JSON object, or is longer than `LINE_BYTES_MAX`, is a DataError that names
    file and line.
    """

    def __init__(self, file: str, encoding: str) -> None:
        self._file = file
        self._utf8 = Utf8(file, encoding)
        self._open: list[bytes] = []
        self._open_bytes = 0
        self._lines = 0

    def feed(self, block: bytes) -> list[bytes]:
        *lines, rest = self._utf8.feed(block).split(b"\n")
        if lines:
            lines[0] = b"".join((*self._open, lines[0]))
            self._open, self._open_bytes = [], 0
        self._open.append(rest)
        self._open_bytes += len(rest)
        records = self._records(lines)
        if self._open_bytes > LINE_BYTES_MAX:
            raise self._too_long()
        return records

    def finish(self) -> list[bytes]:
        self._open.append(self._utf8.finish())
        return self._records([b"".join(self._open)])

    def _records(self, lines: list[bytes]) -> list[bytes]:
        records = compact_records(lines)
        if records is not None:
            self._lines += len(lines)
            return records
        records = []
        for number, line in enumerate(lines, start=self._lines + 1):
            value = line.strip(BLANKS)
            if not value:
                continue
            try:
                records.append(record(value))
            except ValueError as error:
                column = len(line) - len(line.lstrip(BLANKS)) + 1
                raise unreadable(self._file, number, column, str(error)) from error
        self._lines += len(lines)
        return records

    def _too_long(self) -> DataError:
        line = self._lines + 1
        reason = f"the line is longer than {LINE_BYTES_MAX} bytes"
        return unreadable(self._file, line, 1, reason)
