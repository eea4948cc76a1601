"""The connector: what each of the protocol's questions means for PostgreSQL."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec

from estuary_cdk.capture import Binding, Capture, DiscoveredResource, Pull, Validation
from estuary_cdk.clock import Clock, SystemClock
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.postgres import host_and_port
from estuary_cdk.kits.sql_cdc.capturing import CURSOR, Capturing, Options
from estuary_cdk.kits.sql_cdc.resources import PATH, TableResource
from estuary_cdk.kits.sql_cdc.schemas import collection_key, discovered_schema, recommended_name
from estuary_cdk.kits.sql_cdc.states import TableState, activated
from estuary_cdk.kits.sql_cdc.tables import TableId
from estuary_cdk.kits.tunnel import forwarded
from estuary_cdk.logs import get_logger
from source_postgres import catalog, prerequisites
from source_postgres.config import Config, duration_s
from source_postgres.database import Postgres
from source_postgres.documents import Origin, asked_for, lsn_number, source_schema
from source_postgres.lineage import Lineage
from source_postgres.slots import SlotLostError

log = get_logger(__name__)

UNTIL_CAUGHT_UP: Final = "SHUTDOWN_AFTER_POLLING"
# Whose log the position is in.
SERVER: Final = "server"


def _table_id(binding: Binding[TableResource, Any]) -> TableId:
    return binding.resource.namespace, binding.resource.stream


@asynccontextmanager
async def _connected(
    config: Config, origin: Origin | None = None, clock: Clock | None = None
) -> AsyncGenerator[Postgres, None]:
    origin = origin or Origin(tag=config.advanced.source_tag)
    with forwarded(config.network_tunnel, *host_and_port(config.address)) as way:
        database = Postgres(config.by(way), origin, clock or SystemClock())
        try:
            yield database
        finally:
            await database.close()


async def discover(config: Config) -> Sequence[DiscoveredResource[TableResource]]:
    """List the tables, with what their documents look like."""
    async with _connected(config) as database:
        await database.require({})
        tables = catalog.wanted(await database.discover(), config)
    return [
        DiscoveredResource(
            name=recommended_name(table),
            resource=TableResource(
                namespace=table.id[0],
                stream=table.id[1],
                mode="" if table.key else "Without Primary Key",
            ),
            schema=discovered_schema(table, source_schema(), history=config.history_mode),
            key=collection_key(table),
            fallback_key=not table.key,
        )
        for table in tables
    ]


async def validate(validation: Validation[Config, TableResource]) -> None:
    """Check all that has to be so on the server, and that each table can be captured as asked."""
    config = validation.config
    async with _connected(config) as database:
        tables = await database.discover()
        keys = {_table_id(each): each.collection.key for each in validation.bindings}
        problems = await database.problems(keys, present=True)
    for binding in validation.bindings:
        table = tables.get(_table_id(binding))
        if table is None:
            continue
        try:
            activated(binding.resource, table, binding.collection.key)
        except ConfigError as error:
            problems.append(prerequisites.Problem(str(error)))
    prerequisites.require(problems)


async def pull(pull: Pull[Config, TableResource, TableState]) -> None:
    """Capture."""
    config = pull.config
    pointers = {
        _table_id(binding): {each.ptr for each in binding.collection.projections}
        for binding in pull.bindings
    }
    origin = Origin(
        config.advanced.source_tag,
        asked_for(pointers, "/_meta/source/txid"),
        asked_for(pointers, "/_meta/source/lsn"),
    )
    async with _connected(config, origin, pull.clock) as database:
        await database.require({_table_id(each): each.collection.key for each in pull.bindings})
        lineage = await database.lineage()
        options = _options(config, os.environ, lineage)
        try:
            _judge_lineage(pull, lineage)
            await Capturing(pull, database, options).run()
        except SlotLostError as error:
            if config.advanced.on_slot_loss != "backfill":
                raise
            log.warning("changes are lost: backfilling everything again", reason=str(error))
            await Capturing(pull, database, options, anew=True).run()


def _judge_lineage(pull: Pull[Config, TableResource, TableState], lineage: Lineage) -> None:
    """Raise SlotLostError where the position to resume from isn't in this server's log."""
    raw, cursor = pull.task_state.get(SERVER), pull.task_state.get(CURSOR)
    resumed = any(binding.state is not None for binding in pull.bindings)
    if raw is None or cursor is None or not resumed:
        return
    recorded, position = msgspec.json.decode(raw), msgspec.json.decode(cursor)
    if isinstance(recorded, str) and isinstance(position, str) and position:
        with suppress(ValueError):
            lineage.judge(recorded, lsn_number(position))


def _options(config: Config, environment: Mapping[str, str], lineage: Lineage) -> Options:
    skipped = config.advanced.skip_backfills.split(",")
    return Options(
        source_schema=source_schema(),
        rediscovery_s=duration_s(config.advanced.rediscovery_interval) or 0,
        skip_backfills=frozenset(filter(None, (each.strip() for each in skipped))),
        workers=config.advanced.backfill_workers,
        task_state={SERVER: lineage.name},
        until_caught_up=environment.get(UNTIL_CAUGHT_UP, "").lower() == "yes",
    )


capture = Capture(
    config=Config,
    resource=TableResource,
    state=TableState,
    discover=discover,
    validate=validate,
    pull=pull,
    path=PATH,
    docs="https://go.estuary.dev/source-postgresql",
    acknowledgements=True,
)
