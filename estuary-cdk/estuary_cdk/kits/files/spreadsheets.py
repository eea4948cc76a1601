"""Rows of Excel and OpenDocument spreadsheets, as records.

The first row of a sheet names the columns; rows without any cell are passed over. Numbers without a
fraction are integers, as the sheet shows them; times are taken as UTC; an empty cell is null. The
library holds a whole sheet in memory, so files have a limit.
"""

import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, BinaryIO, Final

import msgspec

from estuary_cdk.errors import CdkError, ConfigError, DataError
from estuary_cdk.kits.files.csv_columns import column_names
from estuary_cdk.kits.files.durations import iso_duration
from estuary_cdk.kits.files.libraries import library
from estuary_cdk.kits.files.options import ParserOptions
from estuary_cdk.kits.files.tables import Table

FILE_BYTES_MAX: Final = 64 << 20
EXPANDED_BYTES_MAX: Final = 512 << 20
ROWS_AT_ONCE: Final = 1000
EXACT_MAX: Final = 1 << 53
MICROSECOND: Final = timedelta(microseconds=1)
ZIP_START: Final = b"PK"

_encoded_lines = msgspec.json.Encoder().encode_lines


def spreadsheet(file: str, content: BinaryIO, options: ParserOptions) -> Table:
    """Open the chosen sheet, or the first; DataError where it can't be read, or isn't there."""
    calamine: Any = library("python_calamine", "spreadsheets")
    _refuse_large(file, content)
    try:
        book = calamine.CalamineWorkbook.from_filelike(content)
        sheet = book.get_sheet_by_name(_chosen(file, book.sheet_names, options.sheet))
        rows = sheet.to_python(skip_empty_area=True)
    except (CdkError, MemoryError):
        raise
    except BaseException as error:
        # The library's own bugs come as panics, which aren't exceptions to Python.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise DataError(
            f"can't read {file!r}: not a valid spreadsheet: {' '.join(str(error).split())[:300]}",
            file=file,
        ) from error
    return Table(_records(rows))


def _chosen(file: str, names: Sequence[str], wanted: str | None) -> str:
    if not names:
        raise DataError(f"can't read {file!r}: the spreadsheet has no sheet", file=file)
    if wanted is not None and wanted not in names:
        raise ConfigError(
            f"can't read sheet {wanted!r} of {file!r}: there is none",
            hint=f"it has {', '.join(map(repr, names))}",
        )
    return wanted or names[0]


def _refuse_large(file: str, content: BinaryIO) -> None:
    size = content.seek(0, 2)
    content.seek(0)
    start = content.read(len(ZIP_START))
    expanded = size
    if start == ZIP_START:
        try:
            with zipfile.ZipFile(content) as archive:
                expanded = sum(entry.file_size for entry in archive.infolist())
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise DataError(
                f"can't read {file!r}: not a valid spreadsheet: {error}", file=file
            ) from error
    content.seek(0)
    if size > FILE_BYTES_MAX or expanded > EXPANDED_BYTES_MAX:
        raise DataError(
            f"can't read {file!r}: the spreadsheet has {size} bytes, {expanded} unpacked; the "
            f"limits are {FILE_BYTES_MAX} and {EXPANDED_BYTES_MAX}",
            hint="export it as CSV",
            file=file,
        )


def _records(rows: list[list[Any]]) -> Iterator[list[bytes]]:
    if not rows:
        return
    names = column_names([str(cell) for cell in rows[0]])
    # The library takes a moment at midnight for a date.
    moments = {at for row in rows[1:] for at, cell in enumerate(row) if isinstance(cell, datetime)}
    for start in range(1, len(rows), ROWS_AT_ONCE):
        documents = [
            dict(zip(names, map(_value, _with_moments(row, moments)), strict=True))
            for row in rows[start : start + ROWS_AT_ONCE]
            if any(cell != "" for cell in row)
        ]
        yield [line[1:] for line in _encoded_lines(documents).split(b"\n")[:-1]]


def _with_moments(row: list[Any], moments: set[int]) -> list[Any]:
    for at in moments:
        if type(row[at]) is date:
            row[at] = datetime.combine(row[at], time())
    return row


def _value(cell: Any) -> Any:
    match cell:
        case "":
            return None
        case float():
            return int(cell) if cell.is_integer() and abs(cell) <= EXACT_MAX else cell
        case datetime():
            return _trimmed(cell.isoformat())
        case date():
            return cell.isoformat()
        case time():
            return _trimmed(cell.isoformat())
        case timedelta():
            return iso_duration(0, 0, cell // MICROSECOND * 1000)
        case _:
            return cell


def _trimmed(text: str) -> str:
    return (text.rstrip("0") if "." in text else text) + "Z"
