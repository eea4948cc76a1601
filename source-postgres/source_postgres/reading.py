"""How a chunk of a table is read: one statement, whose rows become documents in parts.

What to read is a value that another process can be sent; `reader` is that process.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import Connection

from estuary_cdk.kits.sql_cdc.database import Scanned
from estuary_cdk.logs import get_logger
from source_postgres import wire
from source_postgres.column_types import Mapped
from source_postgres.keys import pack_key, packer_of
from source_postgres.rows import Template, columns_of, numbers

log = get_logger(__name__)

RECEIVE_TIMEOUT_S: Final = 60.0
PART_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """A statement that reads one chunk, and where the scan stands behind it.

    Without a `position` that is behind the chunk's last row, of which `key` are the columns; a
    chunk of fewer rows than `rows_max` is the last one. Rows are numbered from `first_row` on.
    """

    statement: str
    first_row: int = 0
    rows_max: int | None = None
    key: tuple[int, ...] = ()
    position: bytes | None = None
    last: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """A chunk of a table, and what becomes of its rows; it can be pickled.

    `types` are those of the columns with these `names`; `meta` surrounds a row's number in the
    `_meta` of documents of the binding with this index. The scan stands at `begin`.
    """

    chunk: Chunk
    table: str
    names: tuple[str, ...]
    types: tuple[Mapped, ...]
    binding: int
    meta: tuple[bytes, bytes]
    begin: bytes | None


def scanned(connection: Connection[Any], reading: Reading) -> Iterator[Scanned]:
    """Read a chunk, in parts.

    A chunk in order of the key that runs into the statement timeout ends there, if it has rows.
    Raises psycopg.Error.
    """
    chunk, types = reading.chunk, reading.types
    packers = [packer_of(types[index]) for index in chunk.key]
    form = Template(reading.binding, reading.meta, reading.names, types)
    rows = size = told = 0
    position = reading.begin
    blocks: list[bytes] = []
    try:
        messages = wire.started(connection, chunk.statement.encode())
        for block in wire.blocks(messages, RECEIVE_TIMEOUT_S):
            columns = columns_of(block, types) if types else []
            count = len(columns[0]) if columns else block.count(b"\n")
            first = chunk.first_row + rows
            places = numbers(range(first, first + count))
            blocks.append(form.lines([places], columns, count))
            if chunk.key:
                position = pack_key([columns[index][-1] for index in chunk.key], packers)
            rows += count
            size += len(block)
            if size >= PART_BYTES:
                yield Scanned(b"".join(blocks), rows - told, position if chunk.key else None)
                blocks, size, told = [], 0, rows
    except psycopg.errors.QueryCanceled:
        if not (rows and chunk.key):
            raise
        log.info("a chunk ends early: the statement timeout", table=reading.table, rows=rows)
        yield Scanned(b"".join(blocks), rows - told, position, short=True)
        return
    done = chunk.last if chunk.rows_max is None else rows < chunk.rows_max
    yield Scanned(b"".join(blocks), rows - told, chunk.position or position, done)
