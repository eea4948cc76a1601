"""The fake clock wakes everyone at the right moment, in the right order, without waiting."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.clock import Clock
from estuary_cdk.testing.clock import START, FakeClock


async def wake_times(clock: FakeClock, delays: list[int]) -> list[tuple[int, float]]:
    woken: list[tuple[int, float]] = []

    async def sleeper(number: int, delay: int) -> None:
        await clock.sleep(delay)
        woken.append((number, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        for number, delay in enumerate(delays):
            group.create_task(sleeper(number, delay))
    return woken


@given(st.lists(st.integers(min_value=1, max_value=10**9), max_size=6))
def test_sleepers_wake_at_their_moment_earliest_first(delays: list[int]) -> None:
    woken = asyncio.run(wake_times(FakeClock(), delays))
    expected = sorted(enumerate(delays), key=lambda pair: (pair[1], pair[0]))
    assert woken == [(number, float(delay)) for number, delay in expected]


async def test_time_stands_still_while_something_can_run() -> None:
    clock = FakeClock()
    async with asyncio.TaskGroup() as group:
        sleeping = group.create_task(clock.sleep(60))
        for _ in range(50):
            await asyncio.sleep(0)
        assert clock.elapsed == 0
    assert sleeping.done()
    assert clock.now() == START + timedelta(seconds=60)


async def test_a_cancelled_sleep_does_not_move_time() -> None:
    clock = FakeClock()
    async with asyncio.TaskGroup() as group:
        sleeping = group.create_task(clock.sleep(10))
        await asyncio.sleep(0)
        sleeping.cancel()
        await clock.sleep(1)
        await clock.sleep(20)
    assert clock.elapsed == 21
    assert clock.sleeps == [10, 1, 20]


async def test_without_autojump_only_advance_moves_time() -> None:
    clock = FakeClock(autojump=False)
    typed: Clock = clock
    sleeping = asyncio.ensure_future(typed.sleep(5))
    for _ in range(300):
        await asyncio.sleep(0)
    assert not sleeping.done()
    clock.advance(4.5)
    await asyncio.sleep(0)
    assert not sleeping.done()
    clock.advance(0.5)
    await sleeping
    assert clock.elapsed == pytest.approx(5)
