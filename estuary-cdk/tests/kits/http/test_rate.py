"""The bucket never lets more through than its rate says, whoever asks when."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.kits.http.rate import Bucket, Rate
from estuary_cdk.testing.clock import FakeClock

rates = st.builds(
    Rate,
    st.integers(1, 50),
    st.timedeltas(timedelta(milliseconds=1), timedelta(hours=1)),
    st.integers(1, 5),
)
gaps = st.floats(min_value=0, max_value=3600, allow_nan=False)


def most_in_a_span(starts: list[int], rate: Rate) -> int:
    span = rate.per // timedelta(microseconds=1) * 1000
    return max(
        (sum(start <= other < start + span for other in starts) for start in starts), default=0
    )


@given(rates, st.lists(gaps, max_size=60))
def test_no_span_ever_holds_more_than_the_rate_and_the_burst(rate: Rate, waits) -> None:
    clock = FakeClock(autojump=False)
    bucket = Bucket(rate, clock)
    starts = []
    for gap in waits:
        clock.advance(gap)
        while bucket.wait() == 0 and len(starts) < 400:
            bucket.take()
            starts.append(int(clock.monotonic() * 1e9))
    assert most_in_a_span(starts, rate) <= rate.n + rate.burst - 1


async def started(rate: Rate, arrivals: list[float], pauses: list[tuple[float, float]]):
    clock = FakeClock()
    bucket = Bucket(rate, clock)
    starts: list[tuple[int, int]] = []

    async def one(number: int, arrival: float) -> None:
        await clock.sleep(arrival)
        await bucket.start()
        starts.append((number, int(clock.monotonic() * 1e9)))

    async def pause(at: float, seconds: float) -> None:
        await clock.sleep(at)
        bucket.pause(seconds)

    async with asyncio.TaskGroup() as group:
        for number, arrival in enumerate(arrivals):
            group.create_task(one(number, arrival))
        for at, seconds in pauses:
            group.create_task(pause(at, seconds))
    return starts


@given(
    rates,
    st.lists(st.floats(0.001, 10), max_size=15),
    st.lists(st.tuples(st.floats(0.0015, 10), st.floats(0, 60)), max_size=2),
)
def test_concurrent_requests_share_the_rate_and_respect_pauses(rate, arrivals, pauses) -> None:
    starts = asyncio.run(started(rate, arrivals, pauses))
    times = [time for _, time in starts]
    assert len(times) == len(arrivals)
    assert most_in_a_span(times, rate) <= rate.n + rate.burst - 1
    for at, seconds in pauses:
        begin, end = int(at * 1e9) + 1, int((at + seconds) * 1e9) - 1
        assert not [time for time in times if begin < time < end]
    arrived = sorted(range(len(arrivals)), key=lambda number: (arrivals[number], number))
    assert [number for number, _ in starts] == arrived


async def test_waiting_requests_start_as_soon_as_the_rate_allows() -> None:
    starts = await started(Rate(4, timedelta(seconds=1), burst=3), [0] * 7, [])
    times = [time / 1e9 for _, time in starts]
    assert times == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 1.0], abs=1e-5)


async def test_after_a_pause_there_is_no_burst() -> None:
    rate = Rate(1, timedelta(seconds=1), burst=3)
    starts = await started(rate, [0.5] * 3, [(0.25, 10)])
    assert [time / 1e9 for _, time in starts] == pytest.approx([10.25, 11.25, 12.25], abs=1e-5)


async def test_without_a_rate_only_pauses_hold_back() -> None:
    clock = FakeClock()
    bucket = Bucket(None, clock)
    for _ in range(1000):
        await bucket.start()
    assert clock.elapsed == 0
    bucket.pause(5)
    await bucket.start()
    assert clock.elapsed == pytest.approx(5)


@pytest.mark.parametrize("wrong", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_rate_of_nothing_is_refused(wrong) -> None:
    n, seconds, burst = wrong
    with pytest.raises(ValueError, match="a rate needs"):
        Rate(n, timedelta(seconds=seconds), burst)


@given(rates)
def test_the_interval_is_never_rounded_down(rate: Rate) -> None:
    assert rate.interval_ns * rate.n >= rate.per // timedelta(microseconds=1) * 1000
