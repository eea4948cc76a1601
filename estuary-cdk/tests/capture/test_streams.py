"""Streams that can't work are refused when they are written."""

from datetime import UTC, datetime, timedelta

import pytest

from estuary_cdk.capture import Log, Windowed
from estuary_cdk.errors import ContractError

NAIVE = datetime(2024, 1, 1)
AWARE = NAIVE.replace(tzinfo=UTC)


def windowed(**changes) -> Windowed:
    return Windowed("calls", **{"key": ["/id"], "read": None, "since": AWARE, **changes})


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ContractError, match=r"since .* has no time zone"):
        windowed(since=NAIVE)
    with pytest.raises(ContractError, match=r"start .* has no time zone"):
        Log("calls", key=["/id"], read=None, start=NAIVE)


@pytest.mark.parametrize(
    "changes",
    [
        {"tick": timedelta()},
        {"lag": timedelta(seconds=-1)},
        {"tick": timedelta(hours=1), "step": timedelta(minutes=1)},
    ],
)
def test_windows_that_leave_gaps_or_never_end_are_refused(changes):
    with pytest.raises(ContractError, match="can't cut stream 'calls'"):
        windowed(**changes)
