"""Chunks of a table, cut to be read with COPY: ranges of its key, or of its pages.

Several are cut at a time, to be read side by side. Ranges of pages need no question to the server;
where a range of keys ends, an index tells without a look at the rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from psycopg import Connection, pq

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql_cdc.database import Scan
from estuary_cdk.kits.sql_cdc.packing import Part, packed, unpacked
from estuary_cdk.kits.sql_cdc.tables import Table
from source_postgres.catalog import Details
from source_postgres.column_types import Mapped
from source_postgres.config import Config
from source_postgres.documents import Origin
from source_postgres.keys import pack_key, packer_of
from source_postgres.reading import Chunk, Reading

ROWS_PER_PAGE: Final = 100
# More rows than a page can hold, so that rows numbered by their page keep their numbers apart.
ROW_NUMBERS_PER_PAGE: Final = 2048
TID_RANGES_SINCE: Final = 140000
LINE_POINTER_BYTES: Final = 28

Quote = Callable[[str], str]


def identifier(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def qualified(table: Table) -> str:
    """Quote a table's name with its schema."""
    return ".".join(map(identifier, table.id))


def chunks(connection: Connection[Any], scan: Scan, config: Config, chunks_max: int) -> list[Scan]:
    """Cut what comes next of a table into chunks that lie next to each other.

    Raises psycopg.Error.
    """
    if scan.state.mode == "KeylessBackfill":
        cut = _pages(connection, scan, config, chunks_max)
    else:
        cut = _key_ranges(connection, scan, config, chunks_max)
    return [replace(scan, chunk=chunk) for chunk in cut]


def reading(scan: Scan, origin: Origin) -> Reading:
    """Return how a chunk is read."""
    names = tuple(column.name for column in scan.table.columns)
    return Reading(
        scan.chunk,
        scan.table.name,
        names,
        tuple(_read(scan, name)[1] for name in names),
        scan.binding,
        origin.snapshot(scan.table.id),
        scan.state.position,
    )


def _columns(scan: Scan) -> str:
    return ", ".join(_read(scan, column.name)[0] for column in scan.table.columns)


def _read(scan: Scan, name: str) -> tuple[str, Mapped]:
    """Return the expression by which a column is read, and what becomes of its values."""
    mapped = _mapped(scan.table, name)
    if mapped.selected is None or name in (scan.state.key_columns or ()):
        return identifier(name), mapped
    # Under its own name: the function's may be that of a column by which rows are ordered.
    expression = mapped.selected.expression.format(identifier(name))
    return f"{expression} as {identifier(name)}", mapped.selected.mapped


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


def _key_ranges(
    connection: Connection[Any], scan: Scan, config: Config, chunks_max: int
) -> list[Chunk]:
    """Return chunks in order of the key; each but the last ends with a key that was looked up."""
    table, names = scan.table, scan.state.key_columns or ()
    key = _key(table, names)
    rows = config.advanced.backfill_chunk_size
    order = ", ".join(_terms(scan, names))
    plain = list(map(identifier, names))
    packers = [packer_of(_mapped(table, name)) for name in names]

    filters = _conditions(scan, config)

    def behind(
        position: bytes | None, filters: Sequence[str] = (), upto: Sequence[str] | None = None
    ) -> str:
        conditions = [*filters]
        ends = [(">", None if position is None else _texts(table, position, names)), ("<=", upto)]
        for comparison, texts in ends:
            if texts is not None:
                values = ", ".join(
                    f"{literal(connection, text)}::{table.columns[index].type_name}"
                    for index, text in zip(key, texts, strict=True)
                )
                conditions.append(f"({order}) {comparison} ({values})")
        return f" where {' and '.join(conditions)}" if conditions else ""

    found: list[Chunk] = []
    position = scan.state.position
    columns, source = _columns(scan), _source(table)
    for number in range(chunks_max):
        first_row = scan.state.backfilled + number * rows
        bound = None
        if number < chunks_max - 1:
            question = (
                f"select {', '.join(f'{name}::text' for name in plain)} from (select "
                f"{', '.join(plain)} from {source}{behind(position)} order by {order} "
                f"offset {rows - 1} limit 1) bound"
            )
            bound = connection.execute(question.encode()).fetchone()
        if bound is None:
            statement = (
                f"copy (select {columns} from {source}{behind(position, filters)} "
                f"order by {order} limit {rows}) to stdout"
            )
            found.append(Chunk(statement, first_row, rows, key))
            break
        statement = (
            f"copy (select {columns} from {source}{behind(position, filters, bound)} "
            f"order by {order}) to stdout"
        )
        position = pack_key([text.encode() for text in bound], packers)
        found.append(Chunk(statement, first_row, key=key, position=position))
    return found


def _key(table: Table, names: Sequence[str]) -> tuple[int, ...]:
    """Return where among its columns a table has those of its key."""
    known = {column.name: index for index, column in enumerate(table.columns)}
    missing = [name for name in names if name not in known]
    if missing or not names:
        raise ConfigError(
            f"can't backfill {table.name!r}: its key column {(missing or [''])[0]!r} is gone",
            hint="increase the binding's backfill counter to start over",
        )
    return tuple(known[name] for name in names)


def _terms(scan: Scan, names: Sequence[str]) -> list[str]:
    """Return the columns of the key as rows are ordered by them."""
    precise = scan.state.mode == "Backfill"
    bytewise = scan.table.sortable - scan.table.predictable
    return [
        identifier(name) + (' collate "C"' if precise and name in bytewise else "")
        for name in names
    ]


def _mapped(table: Table, name: str) -> Mapped:
    details: Details = table.details
    return details.types.mapped(details.columns[name].type_oid)


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


def _pages(connection: Connection[Any], scan: Scan, config: Config, chunks_max: int) -> list[Chunk]:
    """Return chunks of pages; a partitioned table's partitions come one by one."""
    table, details = scan.table, scan.table.details
    leaves = _leaves(connection, table)
    at = unpacked(scan.state.position) if scan.state.position is not None else []
    if details.partitioned:
        leaf, page = (int(at[0] or 0), int(at[1] or 0)) if len(at) == 2 else (0, 0)
    else:
        leaf, page = 0, int(at[0] or 0) if at else 0
    leaves = [each for each in leaves if not details.partitioned or each[0] >= leaf]
    if not leaves:
        nothing = f"copy (select {_columns(scan)} from {qualified(table)} limit 0) to stdout"
        return [Chunk(nothing, last=True)]
    oid, source, pages = leaves[0]
    if details.partitioned and oid != leaf:
        page = 0
    step = max(1, config.advanced.backfill_chunk_size // _rows_per_page(connection, oid))
    found: list[Chunk] = []
    # Rows of several partitions are numbered in order of the scan, which is one chunk at a time.
    for _ in range(1 if details.partitioned else chunks_max):
        end = page + step
        finished = end >= pages
        conditions = [_on_pages(connection, page, end), *_conditions(scan, config)]
        statement = (
            f"copy (select {_columns(scan)} from only {source} "
            f"where {' and '.join(conditions)}) to stdout"
        )
        if details.partitioned:
            following = (oid + 1, 0) if finished else (oid, end)
            first_row = scan.state.backfilled
        else:
            following = (end, 0)
            first_row = page * ROW_NUMBERS_PER_PAGE
        last = finished and (len(leaves) == 1 or not details.partitioned)
        found.append(Chunk(statement, first_row, position=packed(following), last=last))
        if finished:
            break
        page = end
    return found


def _on_pages(connection: Connection[Any], first: int, end: int) -> str:
    """Return the condition of a row to be on one of some pages."""
    if connection.info.server_version >= TID_RANGES_SINCE:
        return f"ctid >= '({first},0)'::tid and ctid < '({end},0)'::tid"
    # Older servers would read the whole table for that; row by row they read these pages alone.
    return (
        "ctid = any(array(select format('(%s,%s)', page, line)::tid "
        f"from generate_series({first}, {end - 1}) page, generate_series(1, "
        f"current_setting('block_size')::int / {LINE_POINTER_BYTES}) line))"
    )


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
