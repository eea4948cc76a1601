"""Intervals are read as people write them."""

import re
from datetime import timedelta

import pytest

from estuary_cdk.kits.files.intervals import PATTERN, length


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(minutes=90)),
        ("90s", timedelta(seconds=90)),
        ("PT5M", timedelta(minutes=5)),
        ("P1D", timedelta(days=1)),
        ("P1DT12H30S", timedelta(days=1, hours=12, seconds=30)),
    ],
)
def test_lengths(text, expected):
    assert re.search(PATTERN, text)
    assert length(text) == expected
