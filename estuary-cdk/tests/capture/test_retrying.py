"""Trying again ends, unless there is progress."""

import pytest

from estuary_cdk.capture.retrying import ATTEMPTS_MAX, PAUSE_MAX_S, persevere
from estuary_cdk.errors import DataError, TransientError
from estuary_cdk.testing.clock import FakeClock


async def test_it_gives_up_after_the_last_attempt_and_raises_its_error():
    attempts = []

    async def fail():
        attempts.append(len(attempts))
        raise TransientError(f"attempt {len(attempts)}")

    clock = FakeClock()
    with pytest.raises(TransientError, match=f"attempt {ATTEMPTS_MAX}"):
        await persevere(fail, clock, lambda: 0)
    assert len(attempts) == ATTEMPTS_MAX
    assert clock.sleeps == [1.0, 2.0, 4.0, 8.0, 16.0]


async def test_progress_between_failures_keeps_it_going():
    commits = []

    async def advance_then_fail():
        commits.append(1)
        if len(commits) < 50:
            raise TransientError("lost")

    clock = FakeClock()
    await persevere(advance_then_fail, clock, lambda: len(commits))
    assert set(clock.sleeps) == {1.0}
    assert max(clock.sleeps) <= PAUSE_MAX_S


async def test_what_does_not_pass_by_itself_is_not_tried_again():
    attempts = []

    async def fail():
        attempts.append(1)
        raise DataError("broken")

    with pytest.raises(DataError):
        await persevere(fail, FakeClock(), lambda: 0)
    assert attempts == [1]
