"""Materialize collections into a SQLite file, exactly once.

The file is the authority: rows and Flow's checkpoint commit in one SQLite transaction, behind a
fence. Whoever opens the file last shuts out every older process of the same task.
"""

from estuary_cdk.materialize import Materialization
from materialize_sqlite.config import Config, Resource
from materialize_sqlite.schema import connect
from materialize_sqlite.transactor import open_transactor

materialization = Materialization(
    config=Config,
    resource=Resource,
    connect=connect,
    open=open_transactor,
    docs="https://go.estuary.dev/materialize-sqlite",
)

__all__ = ["materialization"]
