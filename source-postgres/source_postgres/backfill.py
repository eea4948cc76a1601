"""Chunks of a table, read with COPY: behind a key, or a range of the table's pages."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import Connection, pq

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql_cdc.database import Scan, Scanned
from estuary_cdk.kits.sql_cdc.packing import Part, packed, unpacked
from estuary_cdk.kits.sql_cdc.tables import Table
from estuary_cdk.logs import get_logger
from source_postgres import wire
from source_postgres.catalog import Details
from source_postgres.config import Config
from source_postgres.documents import Origin
from source_postgres.pgoutput import pack_key, packer_of
from source_postgres.rows import Template, columns_of

log = get_logger(__name__)

RECEIVE_TIMEOUT_S: Final = 60.0
ROWS_PER_PAGE: Final = 100

Quote = Callable[[str], str]


def identifier(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(table: Table) -> str:
    """Quote a table's name with its schema."""
    return ".".join(map(identifier, table.id))


@dataclass(frozen=True, slots=True)
class Chunk:
    """A statement that reads one chunk; `pages_end` is where a range of pages ends."""

    statement: str
    rows_max: int | None
    key: tuple[int, ...] = ()
    position: bytes | None = None
    last: bool = False


def scanned(
    connection: Connection[Any], scan: Scan, config: Config, origin: Origin
) -> Iterator[Scanned]:
    """Read the next chunk of a table, in parts.

    A chunk in order of the key that runs into the statement timeout ends there, if it has rows.
    Raises psycopg.Error.
    """
    if scan.state.mode == "KeylessBackfill":
        chunk = _pages(connection, scan, config)
    else:
        chunk = _behind_key(connection, scan, config)
    details: Details = scan.table.details
    names = [column.name for column in scan.table.columns]
    types = [details.types.mapped(details.columns[name].type_oid) for name in names]
    packers = [packer_of(types[index]) for index in chunk.key]
    form = Template(origin.snapshot(scan.table.id), names, types)
    rows = 0
    position = scan.state.position
    try:
        messages = wire.started(connection, chunk.statement.encode())
        for block in wire.blocks(messages, RECEIVE_TIMEOUT_S):
            columns = columns_of(block, types) if names else []
            count = len(columns[0]) if columns else block.count(b"\n")
            first = scan.state.backfilled + rows
            documents = form.documents([range(first, first + count)], columns)
            if chunk.key:
                position = pack_key([columns[index][-1] for index in chunk.key], packers)
            rows += count
            yield Scanned(documents, position if chunk.key else None)
    except psycopg.errors.QueryCanceled:
        if not (rows and chunk.key):
            raise
        log.info("a chunk ends early: the statement timeout", table=scan.table.name, rows=rows)
        return
    done = chunk.last if chunk.rows_max is None else rows < chunk.rows_max
    yield Scanned((), position if chunk.key else chunk.position, done)


def _columns(table: Table) -> str:
    return ", ".join(identifier(column.name) for column in table.columns)


def _source(table: Table) -> str:
    # Tables that inherit from this one are published, and captured, as tables of their own.
    return qualified(table) if table.details.partitioned else f"only {qualified(table)}"


def _conditions(scan: Scan, config: Config) -> list[str]:
    conditions = []
    if scan.table.details.row_filter:
        conditions.append(f"({scan.table.details.row_filter})")
    if scan.resource.advanced.additional_backfill_filter:
        conditions.append(f"({scan.resource.advanced.additional_backfill_filter})")
    if config.advanced.min_backfill_xid:
        conditions.append(_since_xid(int(config.advanced.min_backfill_xid)))
    return conditions


def _since_xid(xid: int) -> str:
    """Return a condition for rows written since a transaction, by the arithmetic of 32 bits."""
    age = f"(((xmin::text::bigint - {xid % (1 << 32)}) << 32) >> 32)"
    return f"(xmin::text::bigint >= 3 and {age} >= 0)"


def literal(connection: Connection[Any], text: str) -> str:
    """Quote a literal."""
    return pq.Escaping(connection.pgconn).escape_literal(text.encode()).decode()


def _behind_key(connection: Connection[Any], scan: Scan, config: Config) -> Chunk:
    table, names = scan.table, scan.state.key_columns or ()
    known = {column.name: index for index, column in enumerate(table.columns)}
    missing = [name for name in names if name not in known]
    if missing or not names:
        raise ConfigError(
            f"can't backfill {table.name!r}: its key column {(missing or [''])[0]!r} is gone",
            hint="increase the binding's backfill counter to start over",
        )
    precise = scan.state.mode == "Backfill"
    terms = []
    for name in names:
        collated = precise and name in table.sortable - table.predictable
        terms.append(identifier(name) + (' collate "C"' if collated else ""))
    conditions = _conditions(scan, config)
    if scan.state.position is not None:
        values = [
            f"{literal(connection, text)}::{table.columns[known[name]].type_name}"
            for name, text in zip(names, _texts(table, scan.state.position, names), strict=True)
        ]
        conditions.append(f"({', '.join(terms)}) > ({', '.join(values)})")
    rows = config.advanced.backfill_chunk_size
    where = f" where {' and '.join(conditions)}" if conditions else ""
    statement = (
        f"copy (select {_columns(table)} from {_source(table)}{where} "
        f"order by {', '.join(terms)} limit {rows}) to stdout"
    )
    return Chunk(statement, rows, tuple(known[name] for name in names))


def _texts(table: Table, position: bytes, names: Sequence[str]) -> list[str]:
    parts = unpacked(position)
    if len(parts) != len(names):
        raise ConfigError(
            f"can't resume the backfill of {table.name!r}: its position isn't of its key",
            hint="increase the binding's backfill counter to start over",
        )
    return [_text(part) for part in parts]


def _text(part: Part) -> str:
    match part:
        case bool():
            return "t" if part else "f"
        case bytes():
            return "\\x" + part.hex()
        case _:
            return str(part)


def _pages(connection: Connection[Any], scan: Scan, config: Config) -> Chunk:
    """Return the chunk of the next pages; a partitioned table's partitions come one by one."""
    table, details = scan.table, scan.table.details
    leaves = _leaves(connection, table)
    at = unpacked(scan.state.position) if scan.state.position is not None else []
    if details.partitioned:
        leaf, page = (int(at[0] or 0), int(at[1] or 0)) if len(at) == 2 else (0, 0)
    else:
        leaf, page = 0, int(at[0] or 0) if at else 0
    leaves = [each for each in leaves if not details.partitioned or each[0] >= leaf]
    if not leaves:
        return Chunk(f"copy (select {_columns(table)} from {qualified(table)} limit 0) to stdout",
                     None, last=True)  # fmt: skip
    oid, source, pages = leaves[0]
    if details.partitioned and oid != leaf:
        page = 0
    step = max(1, config.advanced.backfill_chunk_size // _rows_per_page(connection, oid))
    end = page + step
    conditions = [
        f"ctid >= '({page},0)'::tid and ctid < '({end},0)'::tid",
        *_conditions(scan, config),
    ]
    statement = (
        f"copy (select {_columns(table)} from only {source} "
        f"where {' and '.join(conditions)}) to stdout"
    )
    finished = end >= pages
    if not details.partitioned:
        return Chunk(statement, None, position=packed((end, 0)), last=finished)
    following = (oid + 1, 0) if finished else (oid, end)
    return Chunk(statement, None, position=packed(following), last=finished and len(leaves) == 1)


def _leaves(connection: Connection[Any], table: Table) -> list[tuple[int, str, int]]:
    """Return the tables that hold rows: OID, quoted name and pages, by OID."""
    query = """
        select c.oid::int8, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
               pg_relation_size(c.oid) / current_setting('block_size')::int8
        from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where case when %(partitioned)s
          then c.oid in (select relid from pg_partition_tree(%(oid)s::oid::regclass) where isleaf)
          else c.oid = %(oid)s end
        order by 1"""
    parameters = {"oid": table.details.oid, "partitioned": table.details.partitioned}
    return [tuple(row) for row in connection.execute(query.encode(), parameters)]


def _rows_per_page(connection: Connection[Any], oid: int) -> int:
    query = b"select reltuples::float8, relpages from pg_catalog.pg_class where oid = %s"
    row = connection.execute(query, [oid]).fetchone()
    if row is None or row[0] <= 0 or not row[1]:
        return ROWS_PER_PAGE
    return max(1, int(row[0] / row[1]))
