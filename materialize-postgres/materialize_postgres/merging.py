"""Staged rows into their tables: by which statements, each prepared once.

`INSERT ... ON CONFLICT` replaces rows that are there. It finds each by the key's index whatever the
planner knows of a table that may just have been filled, so its plan stays right however tables
grow. Measured on 12 to 18 with 60,000 rows of 300,000 (on 18 with 200,000 of a million, too):
`UPDATE ... FROM` and `MERGE` by hash join, which the planner prefers, take up to half as long
again, by nested loop the same; `ANALYZE` of what is staged took a fifth of all and made nothing
faster.

But an upsert begins as an insert. It would fire triggers that people made for inserts and draw from
their sequences, so tables with such things get an `UPDATE`, and an `INSERT` of what is missing.
"""

from collections.abc import Sequence
from typing import Any, Final

from estuary_cdk.kits.sql import Target
from materialize_postgres.session import PostgresSession

INSERTS: Final = 4
"""The bit of a trigger's type that says it fires for inserts."""

_KEYED: Final = f"""
SELECT w.ordinality, ARRAY(
           SELECT a.attname::text FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = c.oid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])),
       ARRAY(
           SELECT a.attname::text FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
           AND (a.atthasdef OR a.attidentity <> '' OR a.attnotnull))
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, ordinality)
JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary AND i.indimmediate
WHERE NOT c.relhasrules AND NOT c.relrowsecurity AND NOT EXISTS (
    SELECT 1 FROM pg_catalog.pg_trigger g
    WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgtype & {INSERTS} <> 0)
"""


def upsertable(session: PostgresSession, targets: Sequence[Target]) -> list[bool]:
    """Tell which tables take an upsert that does no more than an update would."""
    schemas, names = [each.path[0] for each in targets], [each.path[1] for each in targets]
    known = {
        position: (set(keys), set(demanding))
        for position, keys, demanding in session.execute(_KEYED, (schemas, names), "read")
    }
    return [
        position in known
        and known[position][0] == {key.name for key in into.keys}
        and known[position][1] <= {column.name for column in into.columns}
        for position, into in enumerate(targets, 1)
    ]


class Prepared:
    """The statements of a session that are prepared, by name.

    A plan of joins is right for tables of about the `sizes` it was made for: a statement is
    prepared anew once one of them is eight times what it was. What becomes of columns the server
    notices by itself.
    """

    def __init__(self, session: PostgresSession) -> None:
        self._session = session
        self._known: dict[str, tuple[str, tuple[int, ...]]] = {}

    def execute(self, name: str, statement: str, *sizes: int) -> Any:
        """Run a statement, which has no parameters."""
        wanted = (statement, tuple(size.bit_length() // 3 for size in sizes))
        if self._known.get(name) != wanted:
            if name in self._known:
                self._session.execute(f"DEALLOCATE {name}")
            self._session.execute(f"PREPARE {name} AS {statement}")
            self._known[name] = wanted
        return self._session.execute(f"EXECUTE {name}")
