"""Rows as pgoutput sends them, taken apart: one by one, or many at once.

A row is the number of its fields, then for each a letter: `t` with a length of four bytes and that
many bytes of text, `n` for null, `u` for a long value that an update didn't touch.

Reading that field by field costs most of what decoding a change does. But text holds no zero byte,
and in a message below 64 KiB every length begins with two of them: there `t` and two zero bytes are
the beginning of a field and nothing else. Splitting at them takes a row apart in compiled code. A
part is then a length's other two bytes, the text, and the letters of fields after it that have
none. How many of those a row has is told by the number of its parts; where they are, hardly ever
differs within a table: so a pattern is remembered, and only the parts that should end in letters
are measured.

`tuple_fields` says what is right; tests hold the others to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from struct import Struct
from typing import Final

from estuary_cdk.errors import DataError
from source_postgres.values import NULL, Column

UNCHANGED: Final = b"\xfc"
FIELD: Final = b"t\0\0"
SPLIT_BYTES_MAX: Final = 1 << 16
"""Messages from this size on are read field by field."""
PATTERNS_MAX: Final = 4
"""How many patterns are looked for in rows with the same number of texts."""
ROWS_MIN: Final = 4
"""Fewer rows aren't worth looking for a pattern."""

_UINT16: Final = Struct(">H").unpack_from
_UINT32: Final = Struct(">I").unpack_from
_COUNT_BYTES: Final = 2
_SIZE_BYTES: Final = 2
_TEXT, _NULL, _UNCHANGED = b"tnu"
_BODY: Final = itemgetter(slice(_SIZE_BYTES, None))

Fields = list[bytes]
Parts = list[bytes]
Pattern = tuple[tuple[int, bytes], ...]
"""The parts that end in letters, and which."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one pattern, as columns; `places` says where in the batch each is."""

    places: Sequence[int]
    columns: list[Column]
    left_out: tuple[int, ...]
    """The columns that were left out as unchanged."""


def tuple_fields(data: bytes, at: int) -> tuple[Fields, int]:
    """Take a row apart field by field; return it and where it ends.

    Raises DataError for a kind of field that we didn't ask the server for, IndexError or
    struct.error where the message ends too early.
    """
    [count] = _UINT16(data, at)
    at += _COUNT_BYTES
    fields: Fields = []
    take = fields.append
    for _ in range(count):
        kind = data[at]
        if kind == _TEXT:
            start = at + 5
            at = start + _UINT32(data, at + 1)[0]
            take(data[start:at])
        elif kind == _NULL:
            take(NULL)
            at += 1
        elif kind == _UNCHANGED:
            take(UNCHANGED)
            at += 1
        else:
            raise DataError(f"can't decode a row: unknown kind of field {kind}")
    if at > len(data):
        raise IndexError("the row goes on behind the end of its message")
    return fields, at


class Splitter:
    """Takes the rows at the ends of messages apart, many at once; remembers a table's patterns."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._first = 0
        self._known: dict[int, list[Pattern]] = {width + 1: [()]}

    def split(self, messages: Sequence[bytes], at: int) -> tuple[list[Rows], list[int]]:
        """Return the rows that have a pattern, and the places of those to be read one by one.

        Rows are expected at `at`.
        """
        self._first = at + _COUNT_BYTES
        parts = [message.split(FIELD) for message in messages]
        groups: dict[int, list[int]] = {}
        counts = list(map(len, parts))
        for count in set(counts):
            groups[count] = (
                list(range(len(counts)))
                if counts.count(count) == len(counts)
                else [place for place, each in enumerate(counts) if each == count]
            )
        found: list[Rows] = []
        rest: list[int] = []
        if max(map(len, messages)) >= SPLIT_BYTES_MAX:
            long = {i for i, message in enumerate(messages) if len(message) >= SPLIT_BYTES_MAX}
            rest += long
            groups = {
                count: [place for place in places if place not in long]
                for count, places in groups.items()
            }
        for count, places in groups.items():
            rest += self._patterned(count, places, parts, found)
        return found, sorted(rest)

    def _patterned(
        self, count: int, places: list[int], parts: list[Parts], found: list[Rows]
    ) -> list[int]:
        """Add the rows of a pattern that is known or found out; return the places of the rest."""
        known = self._known.setdefault(count, [])
        for pattern in list(known):
            places = self._fitting(pattern, places, parts, found)
        while len(places) >= ROWS_MIN and len(known) < PATTERNS_MAX:
            pattern = _pattern(parts[places[0]], self._first)
            if pattern in known or len(parts[places[0]]) - 1 + _letters(pattern) != self._width:
                break
            known.append(pattern)
            places = self._fitting(pattern, places, parts, found)
        return places

    def _fitting(
        self, pattern: Pattern, places: list[int], parts: list[Parts], found: list[Rows]
    ) -> list[int]:
        """Add the rows of a pattern; return the places of the rest."""
        if not places:
            return places
        columns = list(zip(*[parts[place] for place in places], strict=True))
        # What comes before the row may look like the beginning of a field, too.
        head = self._first + len(dict(pattern).get(0, b""))
        fits = [size == head for size in map(len, columns[0])]
        for index, letters in pattern:
            more = len(letters) + _SIZE_BYTES
            fits = [
                fit
                and part.endswith(letters)
                and (index == 0 or len(part) == (part[0] << 8 | part[1]) + more)
                for fit, part in zip(fits, columns[index], strict=True)
            ]
        if not all(fits):
            rest = [place for place, fit in zip(places, fits, strict=True) if not fit]
            places = [place for place, fit in zip(places, fits, strict=True) if fit]
            if not places:
                return rest
            columns = list(zip(*[parts[place] for place in places], strict=True))
        else:
            rest = []
        found.append(self._rows(pattern, places, columns))
        return rest

    def _rows(self, pattern: Pattern, places: list[int], parts: list[tuple[bytes, ...]]) -> Rows:
        letters_after = dict(pattern)
        columns: list[Column] = []
        left_out: list[int] = []
        for index, column in enumerate(parts):
            letters = letters_after.get(index, b"")
            if index and letters:
                body = slice(_SIZE_BYTES, -len(letters))
                columns.append([part[body] for part in column])
            elif index:
                columns.append(list(map(_BODY, column)))
            for letter in letters:
                if letter == _UNCHANGED:
                    left_out.append(len(columns))
                columns.append([NULL if letter == _NULL else UNCHANGED] * len(places))
        return Rows(places, columns, tuple(left_out))


def _pattern(parts: Parts, first: int) -> Pattern:
    letters = parts[0][first:]
    pattern = [(0, letters)] if letters else []
    for index, part in enumerate(parts[1:], 1):
        if len(part) < _SIZE_BYTES:
            continue
        end = _SIZE_BYTES + (part[0] << 8 | part[1])
        if end < len(part):
            pattern.append((index, part[end:]))
    return tuple(pattern)


def _letters(pattern: Pattern) -> int:
    return sum(len(letters) for _, letters in pattern)
