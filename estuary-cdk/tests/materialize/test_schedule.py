"""Schedules: the next instant, by period, time zone, hours and days; and when they hold at all."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from estuary_cdk.materialize import SyncSchedule
from estuary_cdk.materialize.schedule import (
    SLOW,
    STORES_MAX,
    TRANSACTIONS_MIN,
    Pace,
    in_window,
    next_instant,
)
from estuary_cdk.materialize.transactions import Holding
from estuary_cdk.testing.clock import FakeClock

NOON = datetime(2024, 6, 5, 12, tzinfo=UTC)  # a Wednesday
moments = st.datetimes(
    datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)
)  # fmt: skip


def schedule(**settings) -> SyncSchedule:
    return SyncSchedule.model_validate(settings)


@given(moments, st.sampled_from(["30s", "5m", "1h", "4h"]), st.text(max_size=5))
def test_an_instant_comes_within_a_period_and_again_after_one(now, frequency, seed):
    period = {"30s": 30, "5m": 300, "1h": 3600, "4h": 14_400}[frequency]
    first = next_instant(schedule(syncFrequency=frequency), now, seed)
    second = next_instant(schedule(syncFrequency=frequency), first, seed)
    assert timedelta(0) < first - now <= timedelta(seconds=period)
    assert second - first == timedelta(seconds=period)


def test_without_a_frequency_the_instant_is_now():
    assert next_instant(schedule(), NOON, "a") == NOON


def test_tasks_have_instants_of_their_own():
    instants = {next_instant(schedule(syncFrequency="4h"), NOON, seed) for seed in "abcdef"}
    assert len(instants) == 6


WINDOW = {"fastSyncStartTime": "09:00", "fastSyncStopTime": "17:00", "timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("hour", "minute", "inside"), [(6, 59, False), (7, 0, True), (14, 59, True), (15, 0, False)]
)
def test_hours_are_of_the_time_zone(hour, minute, inside):
    assert in_window(schedule(**WINDOW), NOON.replace(hour=hour, minute=minute)) is inside


def test_a_window_over_midnight_belongs_to_the_day_it_begins():
    night = schedule(
        fastSyncStartTime="22:00", fastSyncStopTime="02:00", fastSyncEnabledDays=["Wed"]
    )
    assert in_window(night, NOON.replace(hour=23))
    assert in_window(night, NOON.replace(day=6, hour=1))
    assert not in_window(night, NOON.replace(day=5, hour=1))


def test_outside_the_window_it_takes_hours_but_not_beyond_its_opening():
    evening = NOON.replace(hour=20)
    first = next_instant(schedule(**WINDOW, syncFrequency="5m"), evening, "a")
    assert timedelta(minutes=5) < first - evening <= SLOW
    dawn = NOON.replace(hour=6, minute=58)
    at = next_instant(schedule(**WINDOW, syncFrequency="5m"), dawn, "a")
    assert at - dawn <= timedelta(minutes=2)


def test_the_first_transactions_are_not_held_back():
    pace = Pace(schedule(syncFrequency="1h"), "a")
    waits = []
    for _ in range(TRANSACTIONS_MIN):
        waits.append(pace.wait_s(NOON))
        pace.committed(1)
    assert waits == [0.0] * TRANSACTIONS_MIN
    assert pace.wait_s(NOON) > 0


def test_a_backfill_is_never_held_back():
    pace = Pace(schedule(syncFrequency="1h"), "a")
    pace.committed(STORES_MAX)
    for _ in range(TRANSACTIONS_MIN):
        pace.committed(1)
    assert pace.wait_s(NOON) == 0.0


def test_empty_transactions_dont_count():
    pace = Pace(schedule(syncFrequency="1h"), "a")
    for _ in range(TRANSACTIONS_MIN):
        pace.committed(0)
    assert pace.wait_s(NOON) == 0.0


@pytest.mark.parametrize(
    "settings",
    [
        {"timezone": "Mars/Olympus"},
        {"fastSyncStartTime": "09:00"},
        {"fastSyncStartTime": "09:00", "fastSyncStopTime": "09:00"},
        {"fastSyncStartTime": "25:00", "fastSyncStopTime": "09:00"},
        {"syncFrequency": "7m"},
    ],
)
def test_what_makes_no_schedule_is_refused(settings):
    with pytest.raises(ValidationError):
        schedule(**settings)


def held_back() -> Pace:
    pace = Pace(schedule(syncFrequency="1h"), "a")
    for _ in range(TRANSACTIONS_MIN):
        pace.committed(1)
    return pace


async def test_an_acknowledgement_waits_for_its_instant():
    clock = FakeClock()
    await Holding(held_back(), clock).wait()
    assert len(clock.sleeps) == 1
    assert 0 < clock.elapsed <= 3600


async def test_nobody_waits_for_a_schedule_once_the_runtime_has_gone():
    clock = FakeClock(autojump=False)
    holding = Holding(held_back(), clock)
    holding.end()
    await asyncio.wait_for(holding.wait(), 5)
    assert clock.elapsed == 0
