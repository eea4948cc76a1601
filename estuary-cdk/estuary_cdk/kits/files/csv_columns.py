"""Whole columns of CSV cells to JSON, and which JSON type a column has.

A column's type is decided by a sample (`kind_of`) and never changes afterwards:

- number: every non-empty cell is a JSON number (no plus sign, no leading zeros, so that ids such
  as 007 stay strings); it keeps its own spelling, whatever its length;
- boolean: every non-empty cell is true or false, in any case;
- string otherwise, also where all cells are empty.

An empty cell, quoted or not, is null in every column. A later cell that doesn't fit its column's
type is emitted as a string, exactly as written.

The sample also becomes a sourced schema, so that a collection has its columns from the first file
on, thousands of them too. Texts aren't in it: what is a date, a moment or an id among them is for
the runtime to tell from the documents, which a schema that says less would keep it from.
"""

import re
from collections.abc import Sequence
from enum import Enum

import orjson

from estuary_cdk.kits.files.names import RESERVED_NAME, unique_names
from estuary_cdk.kits.files.schemas import Schema

NUMBER = r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+"
A_NUMBER = re.compile(NUMBER)
ALL_NUMBERS = re.compile(rf"(?:{NUMBER}\n)*+{NUMBER}")
WHOLE = re.compile(r"-?[0-9]++(?:\.0++)?+")
BOOLEANS = {"true", "false"}
# Documents widen bounds, and what isn't bounded at first never is: integers of any size would pass
# for such of 64 bits.
INTEGER: Schema = {"type": "integer", "minimum": 1, "maximum": 1}
FRACTION: Schema = {"type": "number", "minimum": 1, "maximum": 1}


class Kind(Enum):
    """The JSON type of a column."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"


def kind_of(cells: Sequence[str]) -> Kind:
    """Return the type of a column whose first cells are `cells`."""
    distinct = set(cells) - {""}
    if not distinct:
        return Kind.STRING
    if all(map(A_NUMBER.fullmatch, distinct)):
        return Kind.NUMBER
    return Kind.BOOLEAN if {cell.lower() for cell in distinct} <= BOOLEANS else Kind.STRING


def schema_of(kind: Kind, cells: Sequence[str]) -> Schema | None:
    """Return what a sample of a column, which decided its kind, says of it; None of text."""
    distinct = set(cells) - {""}
    if not distinct:
        return {"type": "null"}
    if kind is Kind.STRING:
        return None
    if kind is Kind.BOOLEAN:
        return {"type": "boolean"}
    return INTEGER if all(map(WHOLE.fullmatch, distinct)) else FRACTION


def column_names(header: Sequence[str]) -> tuple[str, ...]:
    """Return a unique name per column.

    Names lose surrounding blanks; an empty one becomes column_<position from 1>. A name that
    occurred before, or `_meta`, which is ours, gets the first free of _2, _3, ... appended.
    """
    stems = [cell.strip() or f"column_{at}" for at, cell in enumerate(header, start=1)]
    return unique_names(stems, reserved=(RESERVED_NAME,))


def json_rows(
    names: Sequence[str], kinds: Sequence[Kind], columns: Sequence[Sequence[str]]
) -> list[bytes]:
    """Return each row as a JSON object without its opening brace, its members in column order.

    All columns have the same, positive length.
    """
    width = 2 * len(names) + 1
    rows = len(columns[0])
    pieces = [""] * (width * rows)
    before = ""
    for position, (name, kind, cells) in enumerate(zip(names, kinds, columns, strict=True)):
        quote, encoded = json_cells(kind, cells)
        opening = f"{before}{orjson.dumps(name).decode()}:{quote}"
        pieces[2 * position :: width] = [opening] * rows
        pieces[2 * position + 1 :: width] = encoded
        before = f"{quote},"
    pieces[width - 1 :: width] = [before[:-1] + "}\n"] * rows
    # JSON escapes line breaks, so those between the rows are the only ones.
    return "".join(pieces).encode().split(b"\n")[:-1]


def json_cells(kind: Kind, cells: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return a column's JSON values, and what to put around each of them: a quote or nothing."""
    if kind is Kind.NUMBER:
        return "", _numbers(cells)
    if kind is Kind.BOOLEAN:
        return "", _booleans(cells)
    escaped = _escaped(cells)
    if "" in cells:
        return "", [f'"{cell}"' if cell else "null" for cell in escaped]
    return '"', escaped


def _numbers(cells: Sequence[str]) -> Sequence[str]:
    joined = "\n".join(cells)
    # A cell with a line break of its own must not pass for two numbers.
    if ALL_NUMBERS.fullmatch(joined) and joined.count("\n") == len(cells) - 1:
        return cells
    return [
        cell if A_NUMBER.fullmatch(cell) else orjson.dumps(cell).decode() if cell else "null"
        for cell in cells
    ]


def _booleans(cells: Sequence[str]) -> Sequence[str]:
    spelled = {
        cell: cell.lower()
        if cell.lower() in BOOLEANS
        else (orjson.dumps(cell).decode() if cell else "null")
        for cell in set(cells)
    }
    return [spelled[cell] for cell in cells]


def _escaped(cells: Sequence[str]) -> list[str]:
    """Return the insides of the cells' JSON strings, all encoded by one call where that can be.

    Without an escaped quote the next quote always ends a cell, so `","` is found between cells
    only.
    """
    encoded = orjson.dumps(cells)
    if b'\\"' in encoded:
        return [orjson.dumps(cell)[1:-1].decode() for cell in cells]
    return encoded[2:-2].decode().split('","')
