"""Rows looked up once more: what a change of a key doesn't carry.

An update leaves out long values that it didn't change. Merged into the row that is there, they are
not missed; but a row that got another key is another document, which has nothing to be merged into.
So its values are read from the table, as they are by now: if they changed since, or the row is gone
or moved on, the change that did it is still to come in the stream.
"""

from collections.abc import Sequence
from typing import Any, Final

from psycopg import Connection

from source_postgres import wire
from source_postgres.backfill import identifier, literal
from source_postgres.column_types import Mapped
from source_postgres.config import Config
from source_postgres.connecting import connect
from source_postgres.relations import Relation
from source_postgres.rows import columns_of
from source_postgres.tuples import UNCHANGED, Fields
from source_postgres.visibility import Streamed

TIMEOUT_S: Final = 60.0


class Refetching:
    """Fills rows; connects when it is first needed. For one thread."""

    def __init__(self, config: Config, streamed: Streamed) -> None:
        self._streamed = streamed
        self._config = config
        self._connection: Connection[Any] | None = None

    def __call__(
        self, seen: Relation, types: Sequence[Mapped], key: Sequence[int], fields: Fields
    ) -> Fields:
        """Return a row with the fields that were left out, where it still is in the table."""
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._config)
        connection = self._connection
        self._streamed.settle(connection)
        names = [identifier(name) for name in seen.names]
        conditions = [
            f"{names[index]} = {literal(connection, fields[index].decode())}" for index in key
        ]
        table = ".".join(map(identifier, seen.id))
        statement = (
            f"copy (select {', '.join(names)} from {table} "
            f"where {' and '.join(conditions)} limit 1) to stdout"
        )
        block = b"".join(wire.blocks(wire.started(connection, statement.encode()), TIMEOUT_S))
        if not block:
            return fields
        found = [column[0] for column in columns_of(block, types)]
        return [
            now if field == UNCHANGED else field for field, now in zip(fields, found, strict=True)
        ]

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
