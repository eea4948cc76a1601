"""The real process on real pipes: by hand, to its end, and killed at every phase."""

import subprocess
import sys

import msgspec
import pytest

from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.testing.killed_tasks import KilledTask
from materialize_postgres import materialization

COMMAND = (sys.executable, "-m", "materialize_postgres")


@pytest.fixture
def task(database) -> KilledTask:
    def rows(table: str):
        return database.run(f"select id, n #>> '{{}}' from {table} order by id, n")

    config = encode_json(database.settings())
    return KilledTask(materialization, "materialize-postgres", COMMAND, config, rows)


@pytest.mark.crash
@pytest.mark.parametrize("moment", ["applying=kill", "applying=kill@2", "applied=kill"])
async def test_killed_while_it_changes_tables_it_may_apply_again(moment: str, task: KilledTask):
    await task.survives_while_it_changes_tables(moment)


MOMENTS = [
    "fenced=kill",
    "loaded=kill@2",
    "stored=kill",
    "stored=kill@3",
    "settled=kill@2",
    "committing=kill",
    "committing=kill@3",
    "committed=kill",
    "committed=kill@2",
]


@pytest.mark.crash
@pytest.mark.parametrize("moment", MOMENTS)
async def test_killed_anywhere_it_stores_everything_exactly_once(moment: str, task: KilledTask):
    await task.survives_while_it_stores(moment)


@pytest.mark.crash
@pytest.mark.parametrize("boundary", [5, 9, 13, 17])
async def test_killed_by_its_runtime_it_stores_everything_once(boundary: int, task: KilledTask):
    await task.survives_its_runtime(boundary)


def test_it_answers_by_hand():
    asked = subprocess.run(COMMAND, input=b'{"spec":{}}\n', capture_output=True, check=True)
    assert asked.stderr == b""
    spec = msgspec.json.decode(asked.stdout)["spec"]
    assert {"address", "database", "user", "credentials"} <= set(spec["configSchema"]["required"])
    assert spec["resourceConfigSchema"]["required"] == ["table"]
