"""Clusters, one per major version and session, and databases, one per test."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest
from psycopg import sql

from estuary_cdk.testing import sql_endpoint
from estuary_cdk.testing.postgres import Cluster, Clusters, binaries, clusters, versions
from materialize_postgres.config import Config, Resource
from materialize_postgres.schema import connect
from materialize_postgres.transactor import open_transactor

NEWEST = max(versions(), default=0)


@pytest.fixture(scope="session", name="clusters")
def running_clusters() -> Iterator[Clusters]:
    with clusters() as running:
        yield running


class Database:
    """A database of its own, reached as the kit reaches it and, for looking at it, by psycopg."""

    field = staticmethod(sql_endpoint.field)
    stores = staticmethod(sql_endpoint.stores)
    loaded = staticmethod(sql_endpoint.loaded)
    columns = staticmethod(sql_endpoint.columns)

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name
        endpoint = sql_endpoint.SqlEndpoint(
            connect=lambda: connect(self.config()),
            open=lambda bindings, shard, hard: open_transactor(
                self.config(hardDelete=hard), bindings, shard
            ),
            resource=lambda table, delta: Resource(table=table, delta_updates=delta),
            namespace=("public",),
        )
        self.binding, self.table = endpoint.binding, endpoint.table
        self.create, self.apply, self.opened = endpoint.create, endpoint.apply, endpoint.opened

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
