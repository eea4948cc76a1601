"""The real process on real pipes: by hand, to its end, and killed at every phase."""

import subprocess
import sys

import msgspec
import pytest

from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.testing.killed_tasks import KILLS, KilledTask
from materialize_postgres import materialization

COMMAND = (sys.executable, "-m", "materialize_postgres")


@pytest.fixture
def task(database) -> KilledTask:
    def rows(table: str):
        return database.run(f"select id, n #>> '{{}}' from {table} order by id, n")

    config = encode_json(database.settings())
    return KilledTask(materialization, "materialize-postgres", COMMAND, config, rows)


ALL_KILLS = [*KILLS, ("transactions", "loaded=kill@2"), ("transactions", "settled=kill@2")]


@pytest.mark.crash
@pytest.mark.parametrize(("phase", "moment"), ALL_KILLS)
async def test_killed_anywhere_it_has_every_row_once(phase: str, moment: str, task: KilledTask):
    await task.survives(phase, moment)


def test_it_answers_by_hand():
    asked = subprocess.run(COMMAND, input=b'{"spec":{}}\n', capture_output=True, check=True)
    assert asked.stderr == b""
    spec = msgspec.json.decode(asked.stdout)["spec"]
    assert {"address", "database", "user", "credentials"} <= set(spec["configSchema"]["required"])
    assert spec["resourceConfigSchema"]["required"] == ["table"]
