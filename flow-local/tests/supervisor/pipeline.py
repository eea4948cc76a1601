"""Runs a counting source into a table, as one process that a test can kill or make fail.

Arguments: directory, config as JSON. Prints a line when tasks run, one per failure, then "ended".
Exits with 1 after a failure, 0 otherwise.
"""

import asyncio
import importlib.util
import sys
from pathlib import Path

import msgspec

from flow_local.supervisor import Board, Plan, Restarts, data_directory, supervise, until_stopped
from flow_local.tasks import Ending

_builders = Path(__file__).parents[1] / "tasks" / "conftest.py"
_spec = importlib.util.spec_from_file_location("builders", _builders)
assert _spec is not None
assert _spec.loader is not None
builders = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(builders)

SCHEMA = (
    b'{"type":"object","required":["id"],"properties":{"id":{"type":"integer"},'
    b'"n":{"type":"integer","reduce":{"strategy":"sum"}}},"reduce":{"strategy":"merge"}}'
)


async def run(directory: Path, config: dict) -> int:
    source = builders.capture_task(config["source"], schema=SCHEMA)
    table = {"path": str(directory / "out.db"), "remote": True, **config.get("table", {})}
    destination = builders.materialization_task(table, schema=SCHEMA)
    ending = Ending(until_idle=config.get("until_idle", True), quiet_s=5)
    plan = Plan(ending, Restarts(in_a_row_max=config.get("restarts", 3), delay_s=0.01))
    async with data_directory(directory / "data", lambda task, event: None) as world:
        print("running", flush=True)
        work = supervise([source, destination], world, plan, Board())
        failures = await until_stopped(work)
    for failure in failures or []:
        print(failure.error, flush=True)
    print("ended", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(run(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2]))))
