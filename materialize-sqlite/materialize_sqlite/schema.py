"""The tables of the file: what is there, and how it changes.

Every change is one transaction, so a crash leaves the table as it was or as it should be. SQLite
can't alter a column: such a change fills a new table from the old one and renames it. Indexes and
triggers that people made on the table are made again; views go by name and stay. What empties a
table shuts out the task's older processes, whose rows belong to what was.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import assert_never

import apsw

from estuary_cdk.errors import ConfigError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.kits.sql import migrate, shut_out, statements
from estuary_cdk.logs import get_logger
from estuary_cdk.materialize import (
    AddColumns,
    AllowRepeats,
    Change,
    Column,
    CreateTable,
    MigrateColumn,
    Path,
    RecreateTable,
    RelaxColumns,
    Rules,
    Table,
    TruncateTable,
)
from estuary_cdk.materialize.changes import EMPTYING
from materialize_sqlite.config import Config
from materialize_sqlite.database import Checkpointing, database, reasons, transaction
from materialize_sqlite.dialect import SQLITE

log = get_logger(__name__)


@contextmanager
def connect(config: Config) -> Iterator["SqliteDestination"]:
    """Open the file for looking at its tables and changing them."""
    with database(config.path) as db:
        yield SqliteDestination(db, config.path)


class SqliteDestination:
    """The file's tables, as the kit asks for them."""

    def __init__(self, db: apsw.Connection, path: str) -> None:
        self._db = db
        self._path = path
        self.rules: Rules = SQLITE.rules()

    def tables(self, paths: Sequence[Path]) -> Sequence[Table | None]:
        """Return what is at each path now.

        Raises ConfigError for names that are one to SQLite, or that something else has taken.
        """
        names = [path[-1] for path in paths]
        _distinct(names)
        with reasons(self._path, "read"):
            return [existing_table(self._db, name) for name in names]

    def prepare(self, _paths: Sequence[Path]) -> Sequence[str]:
        """Create the checkpoints table."""
        with reasons(self._path):
            if _kinds(self._db, statements.CHECKPOINTS):
                return []
            create = statements.create_checkpoints(SQLITE)
            with transaction(self._db):
                self._db.execute(create)
            return [create]

    def apply(self, change: Change) -> str:
        """Make one change, all of it or nothing, and return its SQL."""
        log.info("changing table", table=change.binding.path[-1], change=type(change).__name__)
        with reasons(self._path, "change"), _old_renaming(self._db), transaction(self._db):
            done = _applied(self._db, change)
            if isinstance(change, EMPTYING):
                shut_out(Checkpointing(self._db), SQLITE, change.binding.task)
            failpoint("materialize-sqlite.applying")
        failpoint("materialize-sqlite.applied")
        return ";\n".join(done) + ";"


def _distinct(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_folded(name), name)
        if other is not name:
            raise ConfigError(
                f"can't materialize into both {other!r} and {name!r}: SQLite takes them for one "
                "table",
                hint="give each binding a table of its own",
            )


def _folded(name: str) -> str:
    """Return a name as SQLite compares it: ASCII letters alone have no case."""
    return name.encode().lower().decode()


def _kinds(db: apsw.Connection, name: str) -> list[tuple[str, str]]:
    found = db.execute(
        "SELECT name, type FROM sqlite_master WHERE name = ? COLLATE NOCASE", (name,)
    )
    return list(found)


def existing_table(db: apsw.Connection, name: str) -> Table | None:
    """Return the table of a name, None if there is nothing.

    Raises ConfigError if something else has the name.
    """
    for actual, kind in _kinds(db, name):
        if kind in {"view", "index"}:
            raise ConfigError(
                f"can't materialize into table {name!r}: it is the name of "
                f"{'a view' if kind == 'view' else 'an index'}",
                hint="drop or rename it, or name another table",
            )
        if kind == "table":
            told = db.execute('SELECT name, type, "notnull" FROM pragma_table_xinfo(?)', (actual,))
            return Table(
                (actual,), tuple(Column(n, t, nullable=not strict) for n, t, strict in told)
            )
    return None


def change_type(db: apsw.Connection, table: str, column: str, kind: str) -> None:
    """Give a column a type, inside the transaction at hand; it may be one of the key."""
    there = existing_table(db, table)
    if there is None:
        raise ConfigError(f"can't widen column {column!r}: there is no table {table!r}")
    [before] = [each for each in there.columns if each.name == column]
    if before.type.upper() == kind:
        return  # Another shard's process was first.
    expression = migrate.cast(SQLITE, before, replace(before, type=kind))
    with _old_renaming(db):
        _rebuilt(db, there, {column: replace(before, type=kind)}, {column: expression})


def _applied(db: apsw.Connection, change: Change) -> list[str]:
    binding, path = change.binding, change.binding.path
    keys = [] if binding.delta_updates else [field.column for field in binding.keys]
    match change:
        case CreateTable():
            return _run(db, [statements.create_table(SQLITE, path, change.columns, keys)])
        case RecreateTable():
            made = _made_by_people(db, change.existing)
            drop = statements.drop_table(SQLITE, change.existing.path)
            create = statements.create_table(SQLITE, path, change.columns, keys)
            return [*_run(db, [drop, create]), *_made_again(db, made)]
        case TruncateTable():
            return _run(db, [statements.delete_all(SQLITE, path)])
        case AddColumns():
            return _run(db, migrate.add_columns(SQLITE, path, change.columns))
        case RelaxColumns():
            relaxed = {column.name: replace(column, nullable=True) for column in change.columns}
            return _rebuilt(db, change.existing, relaxed, {})
        case MigrateColumn():
            expression = migrate.cast(SQLITE, change.before, change.after)
            changed = {change.before.name: change.after}
            return _rebuilt(db, change.existing, changed, {change.before.name: expression})
        case AllowRepeats():
            return _rebuilt(db, change.existing, {}, {}, keyed=False)
        case _:
            assert_never(change)


def _run(db: apsw.Connection, done: list[str]) -> list[str]:
    for statement in done:
        db.execute(statement)
    return done


@contextmanager
def _old_renaming(db: apsw.Connection) -> Iterator[None]:
    """Let views and triggers go by a table's name: renaming one in its place leaves them alone."""
    db.execute("PRAGMA legacy_alter_table = ON")
    try:
        yield
    finally:
        db.execute("PRAGMA legacy_alter_table = OFF")


def _rebuilt(
    db: apsw.Connection,
    planned: Table,
    changed: Mapping[str, Column],
    casts: Mapping[str, str],
    *,
    keyed: bool = True,
) -> list[str]:
    name = planned.path[-1]
    columns = [
        replace(described.column, type=f"{described.column.type}{described.default}")
        if described.column.name not in changed
        else changed[described.column.name]
        for described in _described(db, name)
    ]
    keys = [row[0] for row in db.execute(_KEYS, (name,))] if keyed else []
    made = _made_by_people(db, planned)
    done = _run(db, migrate.rebuild(SQLITE, planned, columns, keys, casts))
    return done + _made_again(db, made)


_KEYS = "SELECT name FROM pragma_table_xinfo(?) WHERE pk > 0 ORDER BY pk"


@dataclass(frozen=True, slots=True)
class _Described:
    """A column and the DEFAULT that people gave it, "" for none."""

    column: Column
    default: str


def _described(db: apsw.Connection, table: str) -> Iterator[_Described]:
    told = db.execute(
        'SELECT name, type, "notnull", dflt_value, hidden FROM pragma_table_xinfo(?)', (table,)
    ).fetchall()
    for name, kind, strict, default, hidden in told:
        if hidden:
            raise ConfigError(
                f"can't rebuild table {table!r}: its column {name!r} is generated",
                hint="drop that column; a view over the table serves as well",
            )
        clause = "" if default is None else f" DEFAULT ({default})"
        yield _Described(Column(str(name), str(kind), nullable=not strict), clause)


def _made_by_people(db: apsw.Connection, table: Table) -> list[str]:
    found = db.execute(
        "SELECT sql FROM sqlite_master WHERE tbl_name = ? COLLATE NOCASE "
        "AND type IN ('index', 'trigger') AND sql IS NOT NULL",
        (table.path[-1],),
    )
    return [sql for (sql,) in found]


def _made_again(db: apsw.Connection, made: Sequence[str]) -> list[str]:
    """Make indexes and triggers again; one that no longer fits the table is told and left out."""
    done = []
    for sql in made:
        db.execute("SAVEPOINT made_again")
        try:
            db.execute(sql)
            done.append(sql)
        except apsw.SQLError as error:
            db.execute("ROLLBACK TO made_again")
            log.warning("an index or trigger no longer fits its table", sql=sql, reason=str(error))
        db.execute("RELEASE made_again")
    return done
