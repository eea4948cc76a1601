"""A session of transactions: the kit's, with PostgreSQL's way to load and store."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from estuary_cdk.kits.sql.transactor import SqlTransactor
from estuary_cdk.materialize import Binding, Shard
from materialize_postgres.config import Config, Resource
from materialize_postgres.dialect import POSTGRES, folded
from materialize_postgres.session import session
from materialize_postgres.storing import CopyStrategy


@contextmanager
def open_transactor(
    config: Config, bindings: Sequence[Binding[Resource]], shard: Shard
) -> Iterator[SqlTransactor]:
    """Connect for a session of transactions."""
    with session(config) as opened:
        strategy = CopyStrategy(opened, bindings, config)
        yield SqlTransactor(
            "materialize-postgres",
            opened,
            POSTGRES,
            shard,
            strategy,
            namespace=(folded(config.namespace),),
        )
