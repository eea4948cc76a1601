"""The tables of the database: what is there, and how it changes.

PostgreSQL's changes of tables are transactional: each of ours is one transaction, so a crash leaves
a table as it was or as it should be, and what is left to do is planned anew. A change waits for
locks a limited time, so that no long query of someone else blocks all others behind us, and tries
again. What empties a table shuts out the task's older processes, whose rows belong to what was.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.kits.sql import Dialect, shut_out, statements
from estuary_cdk.kits.sql.alterations import alterations
from estuary_cdk.kits.sql.enumerations import spelled
from estuary_cdk.logs import get_logger
from estuary_cdk.materialize import (
    AllowRepeats,
    Change,
    Column,
    CreateTable,
    Path,
    RecreateTable,
    Rules,
    Table,
)
from estuary_cdk.materialize.changes import EMPTYING
from materialize_postgres.config import Config, Resource
from materialize_postgres.dialect import POSTGRES, folded, literal, quote, variant
from materialize_postgres.enum_types import extensions, with_types
from materialize_postgres.session import PostgresSession, session

log = get_logger(__name__)

LOCK_WAIT: Final = "60s"
ATTEMPTS_MAX: Final = 5
_AGAIN: Final = frozenset({"55P03", "40P01", "40001"})

_TABLES: Final = """
SELECT w.ordinality, c.relkind, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod),
       a.attnotnull, CASE WHEN t.typtype = 'e' THEN ARRAY(
           SELECT e.enumlabel::text FROM pg_catalog.pg_enum e
           WHERE e.enumtypid = t.oid ORDER BY e.enumsortorder) END
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, ordinality)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
LEFT JOIN pg_catalog.pg_attribute a
       ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
ORDER BY w.ordinality, a.attnum
"""
_KINDS: Final = {
    "v": "a view",
    "m": "a materialized view",
    "i": "an index",
    "I": "an index",
    "S": "a sequence",
    "c": "a type",
    "f": "a foreign table",
}
_TABLE_KINDS: Final = frozenset({"r", "p"})
_PRIMARY_KEY: Final = """
SELECT conname FROM pg_catalog.pg_constraint
WHERE contype = 'p' AND conrelid = to_regclass($1)
"""


def path(config: Config, resource: Resource) -> Path:
    """Return where a binding's table is: its schema and its name, as PostgreSQL has them."""
    return (folded(resource.namespace or config.namespace), folded(resource.table))


def dialect_of(config: Config) -> Dialect:
    """Return the dialect that a config asks for."""
    advanced = config.advanced
    return variant(rebuilding=advanced.no_flow_document, enum_types=advanced.enum_types)


@contextmanager
def connect(config: Config) -> Iterator["PostgresDestination"]:
    """Connect for looking at the tables and changing them."""
    with session(config) as opened:
        yield PostgresDestination(opened, config)


class PostgresDestination:
    """The database's tables, as the kit asks for them."""

    def __init__(self, opened: PostgresSession, config: Config) -> None:
        self._session = opened
        self._config = config
        self.rules: Rules = dialect_of(config).rules()

    def tables(self, paths: Sequence[Path]) -> Sequence[Table | None]:
        """Return what is at each path now.

        Raises ConfigError for a name that something else than a table has.
        """
        return existing_tables(self._session, paths)

    def prepare(self, paths: Sequence[Path]) -> Sequence[str]:
        """Create the schemas that are missing, and the checkpoints table."""
        home = folded(self._config.namespace)
        done = []
        for namespace in dict.fromkeys((home, *(each[0] for each in paths))):
            known = "SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1"
            if self._session.execute(known, (namespace,)).fetchone() is None:
                done.append(f"CREATE SCHEMA IF NOT EXISTS {quote(namespace)}")
        if existing_tables(self._session, [(home, statements.CHECKPOINTS)]) == [None]:
            done.append(statements.create_checkpoints(POSTGRES, (home,)))
        for statement in done:
            self._session.execute(statement, verb="prepare")
        return done

    def apply(self, change: Change) -> str:
        """Make one change, all of it or nothing, and return its SQL."""
        log.info(
            "changing table", table=".".join(change.binding.path), change=type(change).__name__
        )
        done = self._statements(change)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                self._run(done, change)
                break
            except TransientError as error:
                if error.context.get("sqlstate") not in _AGAIN or attempt == ATTEMPTS_MAX:
                    raise
                log.warning("a table is locked, trying again", attempt=attempt, reason=str(error))
        failpoint("materialize-postgres.applied")
        return ";\n".join(done) + (";" if done else "")

    def _statements(self, change: Change) -> list[str]:
        dialect = POSTGRES
        if isinstance(change, AllowRepeats):
            table = POSTGRES.table(change.binding.path)
            found = self._session.execute(_PRIMARY_KEY, (table,)).fetchone()
            if found is None:
                return []
            drop = f"ALTER TABLE {{table}} DROP CONSTRAINT {quote(found[0]).replace('{', '{{')}"
            dialect = replace(
                POSTGRES, drop_key=drop.replace("}", "}}").replace("{table}}", "{table}")
            )
        made, change = with_types(self._session, change)
        extended = extensions(self._session, change)
        done = [*made, *(alterations(dialect, change) if extended is None else extended)]
        if isinstance(change, CreateTable | RecreateTable):
            collection = f"Generated for materialization of collection {change.binding.collection}"
            table = POSTGRES.table(change.binding.path)
            done.append(f"COMMENT ON TABLE {table} IS {literal(collection)}")
            if change.binding.resource.additional_table_create_sql.strip():
                done.append(change.binding.resource.additional_table_create_sql.strip().rstrip(";"))
        return done

    def _run(self, done: Sequence[str], change: Change) -> None:
        self._session.begin()
        try:
            self._session.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'")
            self._session.execute(
                f"SET LOCAL search_path = {quote(change.binding.path[0])}, public"
            )
            for statement in done:
                self._session.execute(statement, verb="change")
            if isinstance(change, EMPTYING):
                home = folded(self._config.namespace)
                shut_out(self._session, POSTGRES, change.binding.task, (home,))
            failpoint("materialize-postgres.applying")
            self._session.commit()
        finally:
            self._session.rollback()


def existing_tables(opened: PostgresSession, paths: Sequence[Path]) -> list[Table | None]:
    """Return the table at each path, None where there is nothing.

    Raises ConfigError if something else has the name.
    """
    schemas, names = [each[0] for each in paths], [each[1] for each in paths]
    rows = opened.execute(_TABLES, (schemas, names), "read").fetchall()
    columns: list[list[Column] | None] = [None] * len(paths)
    for position, kind, name, sql, strict, labels in rows:
        path = paths[position - 1]
        if kind not in _TABLE_KINDS:
            raise ConfigError(
                f"can't materialize into table {'.'.join(path)!r}: it is the name of "
                f"{_KINDS.get(kind, 'something else')}",
                hint="drop or rename it, or name another table",
            )
        found = columns[position - 1] = columns[position - 1] or []
        if name is not None:
            told = sql.upper() if labels is None else spelled(labels)
            found.append(Column(name, told, nullable=not strict))
    return [
        None if found is None else Table(each, tuple(found))
        for each, found in zip(paths, columns, strict=True)
    ]
