"""A SQLite file under test: bindings by a few words, stores and loads by values."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from estuary_cdk.materialize import Binding, Column, CreateTable, Field, Keys, Shard, Stores
from estuary_cdk.protocol.flow import Inference
from materialize_sqlite.config import Config, Resource
from materialize_sqlite.schema import SqliteDestination, connect
from materialize_sqlite.transactor import SqliteTransactor, open_transactor

WHOLE = Shard("acme/task", 0, 0xFFFFFFFF)


class File:
    """A database file, reached as the kit reaches it and, for looking at it, by sqlite3."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def config(self, *, hard_delete: bool = False) -> Config:
        return Config(path=str(self.path), hard_delete=hard_delete)

    def field(self, name: str, *types: str, key: bool = False, **inference: Any) -> Field:
        pointer = "" if name == "flow_document" else f"/{name}"
        told = Inference(types=sorted(types), exists="MUST", **inference)
        return Field(name, name, pointer, told, is_key=key)

    def binding(
        self,
        table: str = "t",
        keys: Sequence[Field] | None = None,
        values: Sequence[Field] | None = None,
        *,
        index: int = 0,
        delta: bool = False,
    ) -> Binding[Resource]:
        return Binding(
            index=index,
            resource=Resource(table=table, delta_updates=delta),
            path=(table,),
            collection="acme/collection",
            keys=tuple(keys or [self.field("id", "integer", key=True)]),
            values=tuple([self.field("v", "string", "null")] if values is None else values),
            document=self.field("flow_document", "object"),
            delta_updates=delta,
            backfill=0,
            state_key=f"{table}.v0",
        )

    def columns(self, destination: SqliteDestination, binding: Binding[Any]) -> tuple[Column, ...]:
        types = destination.rules.column_type
        return tuple(
            Column(field.column, str(types(field)), nullable=field.nullable)
            for field in binding.fields
        )

    def create(self, *bindings: Binding[Any]) -> None:
        with connect(self.config()) as destination:
            destination.prepare([binding.path for binding in bindings])
            for binding in bindings:
                destination.apply(CreateTable(binding, self.columns(destination, binding)))

    def apply(self, *changes: Any) -> str:
        with connect(self.config()) as destination:
            return "\n".join(map(destination.apply, changes))

    def table(self, name: str) -> Any:
        with connect(self.config()) as destination:
            return destination.tables([(name,)])[0]

    @contextmanager
    def opened(
        self, *bindings: Binding[Resource], shard: Shard = WHOLE, hard_delete: bool = False
    ) -> Iterator[SqliteTransactor]:
        config = self.config(hard_delete=hard_delete)
        with open_transactor(config, bindings, shard) as transactor:
            transactor.fence()
            yield transactor

    def stores(self, *rows: Sequence[Any], binding: int = 0, **flags: Any) -> Stores:
        """Rows of (key, value, exists?, delete?); the document says the same."""
        return Stores(
            binding,
            [msgspec.json.encode([row[0]]) for row in rows],
            [msgspec.json.encode([row[1]]) for row in rows],
            [msgspec.json.encode({"id": row[0], "v": row[1]}) for row in rows],
            [flags.get("exists", False)] * len(rows),
            [flags.get("delete", False)] * len(rows),
        )

    def loaded(self, transactor: SqliteTransactor, *keys: Any, binding: int = 0) -> list[bytes]:
        transactor.stage(Keys(binding, [msgspec.json.encode([key]) for key in keys]))
        return sorted(document for found in transactor.loaded() for document in found.documents)

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            return db.execute(sql, parameters).fetchall()


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "data.db")
