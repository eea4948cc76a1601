"""A round moves each table on as far as its chunks got without a gap, or fails as a whole."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.sql_cdc.database import Scan, Scanned
from estuary_cdk.kits.sql_cdc.resources import TableResource
from estuary_cdk.kits.sql_cdc.rounds import Round, shares
from estuary_cdk.kits.sql_cdc.states import TableState
from estuary_cdk.kits.sql_cdc.tables import Table


class Chunks:
    """A database whose chunks are the parts they consist of."""

    def __init__(self) -> None:
        self.given_up = 0

    async def scan(self, scan):
        try:
            for part in scan.chunk:
                await asyncio.sleep(0)
                if isinstance(part, Exception):
                    raise part
                yield part
        except (GeneratorExit, asyncio.CancelledError):
            self.given_up += 1
            raise


def scans(*chunks) -> list[Scan]:
    resource = TableResource(namespace="s", stream="t")
    state = TableState(mode="Backfill", backfilled=10)
    return [Scan(Table(("s", "t"), ()), resource, state, 0, chunk) for chunk in chunks]


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def ran(*tables, watch=forever, database=None) -> tuple[list[TableState], list[int]]:
    taken = [0] * len(tables)

    async def take(part) -> None:
        taken[part.index] += part.rows

    states = await Round(database or Chunks(), list(tables)).run(take, watch)
    return states, taken


@given(st.integers(1, 20), st.integers(1, 20))
def test_all_workers_are_shared_out_and_no_table_gets_none(tables, workers):
    got = shares(tables, workers)
    assert (len(got), sum(got)) == (min(tables, workers), workers)
    assert min(got) >= 1


async def test_each_table_moves_on_behind_its_last_chunk():
    first = scans([Scanned(b"x", 2, b"a"), Scanned(b"", 0, b"b")], [Scanned(b"x", 3, b"c", True)])
    second = scans([Scanned(b"x", 1, b"d")])
    states, taken = await ran(first, second)
    assert taken == [5, 1]
    assert [(each.mode, each.position, each.backfilled) for each in states] == [
        ("Active", None, 15),
        ("Backfill", b"d", 11),
    ]


async def test_behind_a_chunk_that_ended_early_is_where_the_next_round_begins():
    short = Scanned(b"x", 2, b"a", short=True)
    [state], _ = await ran(scans([short], [Scanned(b"x", 3, b"c", True)]))
    assert (state.mode, state.position) == ("Backfill", b"a")


@pytest.mark.parametrize("who", ["scan", "watch"])
async def test_what_fails_ends_all_scans_with_its_error(who):
    database = Chunks()
    broken = ConfigError("can't go on: the slot is gone")

    async def watch() -> None:
        if who == "watch":
            raise broken
        await forever()

    endless = [Scanned(b"x", 1, b"a")] * 1000
    failing = endless if who == "watch" else [broken]
    with pytest.raises(ConfigError, match="slot is gone"):
        await ran(scans(endless, failing), watch=watch, database=database)
    assert database.given_up >= 1
