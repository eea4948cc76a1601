"""Materialize collections into PostgreSQL, exactly once.

The database is the authority: rows and Flow's checkpoint commit in one transaction, behind a fence.
Whoever connects last shuts out every older process of the same task.
"""

from estuary_cdk.materialize import Materialization
from materialize_postgres.config import Config, Resource
from materialize_postgres.schema import connect, path
from materialize_postgres.transactor import open_transactor

materialization = Materialization(
    config=Config,
    resource=Resource,
    connect=connect,
    open=open_transactor,
    path=path,
    adopt_existing=lambda _config, resource: resource.adopt_existing,
    ser_policy=lambda config: config.truncation,
    rebuilds=lambda config: config.advanced.no_flow_document,
    schedule=lambda config: config.schedule,
    docs="https://go.estuary.dev/materialize-postgresql",
)

__all__ = ["materialization"]
