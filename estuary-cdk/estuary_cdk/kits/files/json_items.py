"""JSON documents of any arrangement: one object, arrays of objects, or either one after another.

A scanner finds where each top-level object begins and ends, by looking at brackets and strings
only; each object is then verified by a real JSON parser. The scanner looks at every byte once,
wherever the input is cut: inside a string it remembers that it is, and nothing before the current
object is kept.

Between the objects stand blanks, and inside a top-level array commas; anything else is an error.
"""

import re

from estuary_cdk.errors import DataError, shortened
from estuary_cdk.kits.files.encoding import Utf8
from estuary_cdk.kits.files.json_records import BLANKS, record, unreadable

RECORD_BYTES_MAX = 1 << 26

# Everything up to the next bracket, whole strings included.
TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
TO_END_OF_STRING = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL)
TO_RECORD = re.compile(rb"[^{}\[\]\"]*+")
OPENING = b"{["
QUOTE = ord('"')


class JsonItems:
    """A parser of one file: `feed` blocks of bytes, then `finish`; see `formats.Parser`.

    Raises DataError naming file, line and column (in bytes) of what isn't valid, of a record that
    is longer than `RECORD_BYTES_MAX` or no object, and of a file that ends inside a value.
    """

    def __init__(self, file: str, encoding: str) -> None:
        self._file = file
        self._utf8 = Utf8(file, encoding)
        self._buffer = b""
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._at = 0  # how far the buffer was scanned
        self._start = 0  # where the current object, or the gap before it, begins
        self._depth = 0  # brackets open inside the current object, its own included
        self._in_string = False
        self._in_array = False
        self._items = 0  # objects so far in the current array
        self._line, self._column = 1, 1  # of the buffer's first byte

    def feed(self, block: bytes) -> list[bytes]:
        self._pending.append(self._utf8.feed(block))
        self._pending_bytes += len(block)
        # Blocks gather until they outweigh the open object, so that a long one is copied seldom.
        return [] if self._pending_bytes < len(self._buffer) else self._advance()

    def finish(self) -> list[bytes]:
        self._pending.append(self._utf8.finish())
        records = self._advance()
        if self._depth or self._in_array:
            what = "an object" if self._depth else "an array"
            raise self._error(len(self._buffer), f"the file ends inside {what}")
        self._check_gap(len(self._buffer))
        return records

    def _advance(self) -> list[bytes]:
        self._buffer = b"".join((self._buffer, *self._pending))
        self._pending, self._pending_bytes = [], 0
        records: list[bytes] = []
        while self._at < len(self._buffer):
            if not self._depth:
                self._enter()
            elif self._in_string:
                if not self._leave_string():
                    break
            else:
                self._step(records)
        self._forget(self._start)
        if len(self._buffer) > RECORD_BYTES_MAX:
            raise self._error(0, f"a record is longer than {RECORD_BYTES_MAX} bytes")
        return records

    def _enter(self) -> None:
        """Go to the beginning of the next object."""
        end = _end(TO_RECORD, self._buffer, self._at)
        self._at = end
        if end == len(self._buffer):
            return
        found = self._buffer[end : end + 1]
        self._check_gap(end, closing=found == b"]")
        self._at += 1
        self._start = self._at
        if found == b"{":
            self._start = end
            self._depth = 1
        elif found == b"[" and not self._in_array:
            self._in_array, self._items = True, 0
        elif found == b"]" and self._in_array:
            self._in_array = False
        else:
            text = shortened(self._buffer[end : end + 40].decode("utf-8", "replace"))
            raise self._error(end, f"a record must be an object, found {text}")

    def _step(self, records: list[bytes]) -> None:
        """Go past the next bracket inside an object, or into a string that isn't closed yet."""
        end = _end(TO_BRACKET, self._buffer, self._at)
        self._at = end + 1
        if end == len(self._buffer):
            self._at = end
        elif self._buffer[end] == QUOTE:
            self._in_string = True
        elif self._buffer[end] in OPENING:
            self._depth += 1
        else:
            self._depth -= 1
            if not self._depth:
                records.append(self._record())
                self._start = self._at
                self._items += 1

    def _leave_string(self) -> bool:
        end = _end(TO_END_OF_STRING, self._buffer, self._at)
        self._at = end
        if end < len(self._buffer) and self._buffer[end] == QUOTE:
            self._at = end + 1
            self._in_string = False
        return not self._in_string

    def _record(self) -> bytes:
        try:
            return record(self._buffer[self._start : self._at])
        except ValueError as error:
            raise self._error(self._start, str(error)) from error

    def _check_gap(self, end: int, *, closing: bool = False) -> None:
        gap = self._buffer[self._start : end].strip(BLANKS)
        expected = b"," if self._in_array and self._items and not closing else b""
        if gap == expected:
            return
        if not gap:
            raise self._error(end, "a comma is missing between two records")
        text = shortened(gap[:40].decode("utf-8", "replace"))
        raise self._error(self._start, f"unexpected {text} (records are objects)")

    def _forget(self, size: int) -> None:
        self._line, self._column = self._place(size)
        self._buffer = self._buffer[size:]
        self._at -= size
        self._start -= size

    def _place(self, position: int) -> tuple[int, int]:
        lines = self._buffer.count(b"\n", 0, position)
        if not lines:
            return self._line, self._column + position
        return self._line + lines, position - self._buffer.rindex(b"\n", 0, position)

    def _error(self, position: int, reason: str) -> DataError:
        return unreadable(self._file, *self._place(position), reason)


def _end(pattern: re.Pattern[bytes], buffer: bytes, start: int) -> int:
    match = pattern.match(buffer, start)
    assert match is not None, "the patterns match the empty string"
    return match.end()
