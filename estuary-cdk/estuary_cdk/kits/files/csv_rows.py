"""CSV to JSON objects, a batch of rows at a time.

Text is gathered to batches of fixed size, counted from the start of the file, so that what comes
out never depends on how the input was cut into blocks. A batch goes through `csv.reader` at once,
is transposed, and becomes JSON column by column (`csv_columns` states the typing rule). The first
1,000 rows, as far as they lie within the first 1 Mi characters, decide the columns' types (always
at least one row).

- Line feeds end rows, carriage returns too, unless `lineEnding` says what alone does (a carriage
  return before a line feed belongs to it).
- The first row holds the column names unless `headers` does, or the rows below prove that it is one
  of them (`csv_header`): columns are then named by their places. Empty lines are no rows.
- A row with fewer cells than columns is filled up with nulls.
- A row with more cells, or with text behind a closing quote, is malformed: a DataError that names
  file, line and column, unless the error threshold allows it; then it is left out and counted.
- A quote that is never closed is always an error: the rest of the file would be lost with it.
"""

import csv
import io
from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain, islice

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files.csv_columns import Kind, column_names, json_rows, kind_of, schema_of
from estuary_cdk.kits.files.csv_dialect import OPEN_RECORD, Reader, dialect
from estuary_cdk.kits.files.csv_header import is_header
from estuary_cdk.kits.files.encoding import TextDecoder
from estuary_cdk.kits.files.guessing import GuessedText
from estuary_cdk.kits.files.options import CsvOptions
from estuary_cdk.kits.files.schemas import sourced_schema

SAMPLE_ROWS = 1000
SAMPLE_CHARS = 1 << 20
BATCH_CHARS = 1 << 16  # larger batches leave the processor's caches
RECORD_CHARS_MAX = 1 << 26
REGION_ROWS = 1000
# csv.reader ends rows at line feeds; what ends them in the file trades places with those.
SWAPS = {end: str.maketrans({end: "\n", "\n": end}) for end in ("\r", "\x1e")}


class CsvRows:
    """A parser of one file: `feed` blocks of bytes, then `finish`; see `formats.Parser`.

    The encoding is guessed where it is None. `malformed_rows` counts the rows left out under the
    error threshold; `schema` is the sourced schema, from the first record on.
    """

    def __init__(
        self, file: str, encoding: str | None, options: CsvOptions, *, lines_before: int = 0
    ) -> None:
        csv.field_size_limit(RECORD_CHARS_MAX)
        self.malformed_rows = 0
        self.schema: bytes | None = None
        self._file = file
        self._decoder = GuessedText(file) if encoding is None else TextDecoder(file, encoding)
        self._options = options
        self._text: list[str] = []
        self._chars = 0
        self._batch_chars = SAMPLE_CHARS
        self._lines = lines_before
        self._names: tuple[str, ...] = column_names(options.headers)
        self._kinds: tuple[Kind, ...] = ()
        self._reader: Reader | None = None
        self._newline = "" if options.line_ending is None else "\n"
        self._swap = SWAPS.get(options.line_ending or "", {})
        self._rows = 0
        self._region = 0
        self._region_faults: list[DataError] = []

    def feed(self, block: bytes) -> list[bytes]:
        self._take(self._decoder.feed(block))
        if self._chars < self._batch_chars:
            return []
        return self._batches(last=False)

    def finish(self) -> list[bytes]:
        self._take(self._decoder.finish())
        records = self._batches(last=True)
        self._judge_last_region()
        return records

    def _take(self, text: str) -> None:
        if text:
            self._text.append(text.translate(self._swap) if self._swap else text)
            self._chars += len(text)

    def _batches(self, *, last: bool) -> list[bytes]:
        text = "".join(self._text)
        position = 0
        records: list[bytes] = []
        while len(text) - position >= self._batch_chars:
            taken = self._batch(text[position : position + self._batch_chars], records)
            position += taken
            if taken:
                self._batch_chars = BATCH_CHARS
            else:
                self._batch_chars *= 2
                self._refuse_endless_record()
        if last and position < len(text):
            self._batch(text[position:], records, last=True)
            position = len(text)
        self._text = [text[position:]]
        self._chars = len(text) - position
        return records

    def _batch(self, text: str, records: list[bytes], *, last: bool = False) -> int:
        """Append the records of the complete rows in `text`; return their length in characters."""
        if not last:
            text = text[: self._end_of_lines(text)]
        if not text:
            return 0
        if self._reader is None:
            self._reader = dialect(self._options, text)
            self._names = self._names or self._places(self._reader, text)
        rows, taken = self._read(self._reader, text, last=last)
        if rows:
            columns = self._columns(rows)
            if not self._kinds:
                self._decide([column[:SAMPLE_ROWS] for column in columns])
            records += json_rows(self._names, self._kinds, columns)
        return taken

    def _places(self, reader: Reader, text: str) -> tuple[str, ...]:
        """Return the columns' names by their places; none where the first row has names."""
        first: list[list[str]] = []
        rows = filter(None, reader(io.StringIO(text, self._newline), strict=False))
        try:
            first += islice(rows, 1)
            if is_header(chain(first, rows)):
                return ()
        except csv.Error:
            return ()
        return column_names([""] * len(first[0]))

    def _decide(self, samples: Sequence[Sequence[str]]) -> None:
        """Let the first rows say what types the columns have."""
        self._kinds = tuple(map(kind_of, samples))
        columns = zip(self._names, self._kinds, samples, strict=True)
        found = {name: schema_of(kind, sample) for name, kind, sample in columns}
        self.schema = sourced_schema({name: each for name, each in found.items() if each})

    def _read(self, reader: Reader, text: str, *, last: bool) -> tuple[list[list[str]], int]:
        """Return the complete rows of `text`, at most as wide as the header, and their length."""
        reading = reader(io.StringIO(text, self._newline))
        try:
            rows = list(reading)
        except csv.Error:
            return self._read_row_by_row(reader, text, last=last)
        if [] in rows:
            rows = [row for row in rows if row]
        if not rows:
            return [], len(text)
        names = self._names or column_names(rows[0])
        if max(map(len, rows)) > len(names):
            return self._read_row_by_row(reader, text, last=last)
        if not self._names:
            self._names = names
            del rows[0]
        self._lines += reading.line_num
        self._rows += len(rows)
        return rows, len(text)

    def _read_row_by_row(
        self, reader: Reader, text: str, *, last: bool
    ) -> tuple[list[list[str]], int]:
        """Do as `_read`, knowing where each row begins; stop before a row that isn't complete."""
        lines = io.StringIO(text, self._newline)
        reading = reader(lines)
        rows: list[list[str]] = []
        start = start_line = 0
        while start < len(text):
            try:
                row = next(reading)
            except csv.Error as error:
                record = text[start : lines.tell()]
                if str(error) != OPEN_RECORD:
                    self._leave_out(self._malformed(start_line, record, str(error)))
                elif last:
                    raise self._malformed(start_line, record, "a quote is never closed") from error
                else:
                    break
            else:
                if row and not self._names:
                    self._names = column_names(row)
                elif len(row) > len(self._names):
                    self._leave_out(self._too_wide(start_line, row))
                elif row:
                    rows.append(row)
                    self._rows += 1
            start, start_line = lines.tell(), reading.line_num
        self._lines += start_line
        return rows, start

    def _end_of_lines(self, text: str) -> int:
        if self._newline:
            return text.rfind(self._newline) + 1
        # A carriage return at the very end may be the first half of a line break.
        return max(text.rfind("\n"), text.rfind("\r", 0, -1)) + 1

    def _columns(self, rows: list[list[str]]) -> Sequence[Sequence[str]]:
        width = len(self._names)
        if set(map(len, rows)) != {width}:
            rows = [row + [""] * (width - len(row)) for row in rows]
        columns: list[Sequence[str]] = list(zip(*rows, strict=True))
        if self._swap:
            columns = [tuple(cell.translate(self._swap) for cell in column) for column in columns]
        return columns

    def _refuse_endless_record(self) -> None:
        if self._batch_chars > RECORD_CHARS_MAX:
            line = self._lines + 1
            raise DataError(
                f"can't read {self._file!r} line {line}: the row is longer than "
                f"{RECORD_CHARS_MAX} characters",
                hint="is a quote left open?",
                file=self._file,
                line=line,
            )

    def _malformed(self, start: int, record: str, reason: str) -> DataError:
        assert self._reader is not None
        return self._fault(start, _faulty_cell(self._reader, record, self._newline), reason)

    def _too_wide(self, start: int, row: Sequence[str]) -> DataError:
        width = len(self._names)
        return self._fault(start, width + 1, f"the row has {len(row)} cells, the header {width}")

    def _fault(self, start: int, column: int, reason: str) -> DataError:
        line = self._lines + start + 1
        return DataError(
            f"can't read {self._file!r} line {line}, column {column}: {reason}",
            hint="correct the file, or set errorThreshold, delimiter, quote or escape",
            file=self._file,
            line=line,
            column=column,
        )

    def _leave_out(self, fault: DataError) -> None:
        region = self._rows // REGION_ROWS
        if region != self._region:
            self._region, self._region_faults = region, []
        self._region_faults.append(fault)
        self._rows += 1
        self.malformed_rows += 1
        self._judge_region(REGION_ROWS)

    def _judge_last_region(self) -> None:
        if self._rows // REGION_ROWS == self._region:
            self._judge_region(self._rows % REGION_ROWS)

    def _judge_region(self, rows: int) -> None:
        faults = len(self._region_faults)
        if faults * 100 > self._options.error_threshold * rows:
            raise self._region_faults[0]


def _faulty_cell(reader: Reader, record: str, newline: str) -> int:
    """Return the number, from 1, of the cell at which reading `record` fails."""

    def fails(length: int) -> bool:
        try:
            next(reader(io.StringIO(record[:length], newline)), None)
        except csv.Error as error:
            return str(error) != OPEN_RECORD
        return False

    length = bisect_left(range(len(record)), True, key=fails)
    cells: list[str] = next(reader(io.StringIO(record[:length], newline), strict=False), [])
    return max(len(cells), 1)
