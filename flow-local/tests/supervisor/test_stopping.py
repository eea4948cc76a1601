"""Stopping is never missed, whatever fails at that moment."""

import asyncio
from dataclasses import replace

import pytest

from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.protocol.capture import CaptureSpec
from estuary_cdk.testing.clock import FakeClock
from estuary_cdk.testing.patience import HANGS_S
from flow_local.connectors import local
from flow_local.supervisor import Board, Plan, data_directory, supervise
from flow_local.tasks import CaptureTask, SchemaWidened


class FailsAtTheEnd:
    """A recovery database: asked for a task, it goes on until it is cancelled, and then fails.

    So does whatever is in a task group of which another member fails as it is cancelled.
    """

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked = asyncio.Event()
        self.times = 0

    async def task(self, name: str) -> None:
        self.times += 1
        self.asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise self.error from None


@pytest.mark.parametrize("error", [TransientError("can't reach it"), SchemaWidened("acme/x")])
async def test_a_task_that_fails_while_it_is_stopped_is_not_started_again(tmp_path, error):
    task = CaptureTask(CaptureSpec(name="acme/x"), local(["true"]), "v1")
    async with data_directory(tmp_path, lambda _, event: None) as world:
        recovery = FailsAtTheEnd(error)
        stopped = replace(world, recovery=recovery)
        running = asyncio.ensure_future(supervise([task], stopped, Plan(), Board()))
        await recovery.asked.wait()
        running.cancel()
        done, _ = await asyncio.wait({running}, timeout=HANGS_S)
        assert done
        assert running.cancelled()
        assert recovery.times == 1


class FailsInAGroup:
    """A recovery database: asked for a task, it fails in a group that is being left."""

    def __init__(self) -> None:
        self.times = 0

    async def task(self, name: str) -> None:
        self.times += 1
        if self.times > 1:
            raise ConfigError("asked again")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.fail())
        except* TransientError:
            pass
        raise TransientError("can't reach it")

    async def fail(self) -> None:
        await asyncio.sleep(0)
        raise TransientError("can't reach it")


async def test_a_task_whose_group_fails_is_not_taken_for_one_that_is_stopped(tmp_path):
    task = CaptureTask(CaptureSpec(name="acme/x"), local(["true"]), "v1")
    async with data_directory(tmp_path, lambda _, event: None, FakeClock()) as world:
        failing = replace(world, recovery=FailsInAGroup())
        failures = await supervise([task], failing, Plan(), Board())
    assert [str(each.error) for each in failures] == ["asked again"]
