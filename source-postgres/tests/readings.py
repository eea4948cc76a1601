"""Chunks of a source's tables as whoever reads them is told, and as they are read in each place."""

from collections.abc import Iterator
from contextlib import contextmanager

from estuary_cdk.kits.sql_cdc.database import Scan, Scanned
from estuary_cdk.kits.sql_cdc.resources import TableResource
from estuary_cdk.kits.sql_cdc.states import activated
from source_postgres import backfill, beside, catalog, connecting
from source_postgres.config import Config
from source_postgres.documents import Origin
from source_postgres.reading import Reading, scanned


def readings(source, chunks_max: int = 1) -> list[Reading]:
    """Return the first chunks of each table."""
    config = Config.model_validate(source.config)
    found = []
    for table in catalog.discover(source.connection, config).values():
        resource = TableResource(namespace=table.id[0], stream=table.id[1])
        scan = Scan(table, resource, activated(resource, table, [f"/{k}" for k in table.key]))
        cut = backfill.chunks(source.connection, scan, config, chunks_max)
        found += [backfill.reading(each, Origin(tag="a tag")) for each in cut]
    return found


@contextmanager
def reader(source) -> Iterator[beside.ReaderProcess]:
    """A process that reads beside."""
    started = beside.connected(Config.model_validate(source.config))
    try:
        yield started
    finally:
        started.end()


def read_here(source, chunk: Reading) -> list[Scanned]:
    with connecting.connect(Config.model_validate(source.config)) as connection:
        return list(scanned(connection, chunk))
