"""Durations are read as people write them."""

from datetime import timedelta

import pytest

from flow_local.catalog.durations import duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5m", timedelta(minutes=5)),
        ("0s", timedelta()),
        ("1h 30m", timedelta(minutes=90)),
        ("1h30m", timedelta(minutes=90)),
        ("2 days", timedelta(days=2)),
        ("250ms", timedelta(milliseconds=250)),
        ("1week 1day", timedelta(days=8)),
        ("1M", timedelta(days=30.44)),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text, expected):
    assert duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", " ", "5", "m", "5 minuts", "1.5h", "-5m", "5m!", "9" * 12 + "y"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match=r"^(it is|expected|.* unit)"):
        duration(text)
