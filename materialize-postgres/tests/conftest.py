"""Clusters, one per major version and session, and databases, one per test."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import sql

from estuary_cdk.materialize import Binding, Column, CreateTable, Field, Keys, Shard, Stores
from estuary_cdk.protocol.flow import Inference
from estuary_cdk.testing.postgres import Cluster, Clusters, binaries, clusters, versions
from materialize_postgres.config import Config, Resource
from materialize_postgres.schema import PostgresDestination, connect
from materialize_postgres.transactor import open_transactor

WHOLE = Shard("acme/task", 0, 0xFFFFFFFF)
NEWEST = max(versions(), default=0)


@pytest.fixture(scope="session", name="clusters")
def running_clusters() -> Iterator[Clusters]:
    with clusters() as running:
        yield running


class Database:
    """A database of its own, reached as the kit reaches it and, for looking at it, by psycopg."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def settings(self, **more: Any) -> dict[str, Any]:
        return {
            "address": self.cluster.address,
            "user": "postgres",
            "database": self.name,
            "credentials": {"auth_type": "UserPassword", "password": "secret"},
            **more,
        }

    def config(self, **more: Any) -> Config:
        return Config.model_validate(self.settings(**more))

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        return self.cluster.execute(*statements, database=self.name)

    def rows(self, table: str) -> Sequence[dict[str, Any]]:
        """Return rows with JSON as its text."""
        with psycopg.connect(self.cluster.conninfo, dbname=self.name, autocommit=True) as db:
            for kind in ("json", "jsonb", "date", "timestamptz", "timetz", "interval"):
                db.adapters.register_loader(kind, psycopg.types.string.TextLoader)
            found = db.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier("public", table)))
            names = [column.name for column in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found]

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
            path=("public", table),
            collection="acme/collection",
            keys=tuple(keys or [self.field("id", "integer", key=True)]),
            values=tuple([self.field("v", "string", "null")] if values is None else values),
            document=self.field("flow_document", "object"),
            delta_updates=delta,
            backfill=0,
            state_key=f"{table}.v0",
        )

    def columns(
        self, destination: PostgresDestination, binding: Binding[Any]
    ) -> tuple[Column, ...]:
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
            return destination.tables([("public", name)])[0]

    @contextmanager
    def opened(
        self, *bindings: Binding[Resource], shard: Shard = WHOLE, hard_delete: bool = False
    ) -> Iterator[Any]:
        config = self.config(hardDelete=hard_delete)
        with open_transactor(config, bindings, shard) as transactor:
            transactor.fence()
            yield transactor

    def stores(self, *rows: Sequence[Any], binding: int = 0, **flags: Any) -> Stores:
        """Rows of key and value; the document says the same."""
        return Stores(
            binding,
            [msgspec.json.encode([row[0]]) for row in rows],
            [msgspec.json.encode([row[1]]) for row in rows],
            [msgspec.json.encode({"id": row[0], "v": row[1]}) for row in rows],
            [flags.get("exists", False)] * len(rows),
            [flags.get("delete", False)] * len(rows),
        )

    def loaded(self, transactor: Any, *keys: Any, binding: int = 0) -> list[bytes]:
        transactor.stage(Keys(binding, [msgspec.json.encode([key]) for key in keys]))
        return sorted(document for found in transactor.loaded() for document in found.documents)


def opened(cluster: Cluster) -> Iterator[Database]:
    name = f"d{os.urandom(5).hex()}"
    with cluster.new_database(name):
        yield Database(cluster, name)


@pytest.fixture
def database(clusters: Clusters) -> Iterator[Database]:
    """A database of the newest version."""
    yield from opened(clusters.of(NEWEST))


@pytest.fixture(params=sorted(versions()))
def any_database(request: pytest.FixtureRequest, clusters: Clusters) -> Iterator[Database]:
    """A database of each version there is."""
    if binaries(15) is None and os.environ.get("CI"):
        pytest.fail("needs Debian's package: apt-get install postgresql-15")
    yield from opened(clusters.of(request.param))
