"""A SQLite file under test, reached as the kit reaches it and, for looking at it, by SQL."""

from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from estuary_cdk.testing import sql_endpoint
from materialize_sqlite.config import Config, Resource
from materialize_sqlite.schema import connect
from materialize_sqlite.transactor import open_transactor


class File:
    """A database file."""

    field = staticmethod(sql_endpoint.field)
    stores = staticmethod(sql_endpoint.stores)
    loaded = staticmethod(sql_endpoint.loaded)
    columns = staticmethod(sql_endpoint.columns)

    def __init__(self, path: Path) -> None:
        self.path = path
        endpoint = sql_endpoint.SqlEndpoint(
            connect=lambda: connect(self.config()),
            open=lambda bindings, shard, hard: open_transactor(
                self.config(hard_delete=hard), bindings, shard
            ),
            resource=lambda table, delta: Resource(table=table, delta_updates=delta),
        )
        self.binding, self.table = endpoint.binding, endpoint.table
        self.create, self.apply, self.opened = endpoint.create, endpoint.apply, endpoint.opened

    def config(self, *, hard_delete: bool = False) -> Config:
        return Config(path=str(self.path), hard_delete=hard_delete)

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        # Not by sqlite3: a second copy of SQLite in one process takes away the locks of the first.
        with closing(apsw.Connection(str(self.path))) as db:
            db.set_busy_timeout(5000)
            return db.execute(sql, parameters).fetchall()


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "data.db")
