"""Materialize collections into BigQuery, exactly once.

A transaction is staged in tables of its own; what is left to do is kept in the connector's state
and done after Flow's recovery log committed, by jobs that can be done only once.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from estuary_cdk.materialize import Binding, Destination, Materialization, Shard
from materialize_bigquery.config import Config, Resource, path


def _connect(config: Config) -> AbstractContextManager[Destination]:
    from materialize_bigquery.schema import connect  # its libraries take a second to import

    return connect(config)


def _open(
    config: Config, bindings: Sequence[Binding[Resource]], shard: Shard
) -> AbstractContextManager[Any]:
    from materialize_bigquery.transactor import open_transactor

    return open_transactor(config, bindings, shard)


materialization = Materialization(
    config=Config,
    resource=Resource,
    connect=_connect,
    open=_open,
    path=path,
    adopt_existing=lambda _config, resource: resource.adopt_existing,
    ser_policy=lambda config: config.truncation,
    rebuilds=lambda config: config.advanced.no_flow_document,
    schedule=lambda config: config.schedule,
    docs="https://go.estuary.dev/materialize-bigquery",
)

__all__ = ["materialization"]
