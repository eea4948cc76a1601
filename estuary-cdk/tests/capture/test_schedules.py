"""Durations and cron expressions are read as people write them."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from estuary_cdk.capture.schedules import Cron, Duration, next_fire

DURATION = TypeAdapter(Duration)
CRON = TypeAdapter(Cron)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("PT5M", 5), ("5m", 5), ("1h 30m", 90), ("90s", 1.5), ("P1D", 1440), ("1w", 10080)],
)
def test_durations_are_iso_8601_or_numbers_with_units(text, minutes):
    assert DURATION.validate_python(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["", "5", "5 parsecs", "0s", "-PT5M", "m"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValidationError):
        DURATION.validate_json(f'"{text}"')


def test_a_cron_expression_names_the_next_moment_in_utc():
    after = datetime(2024, 2, 28, 23, 59, tzinfo=UTC)
    assert next_fire("0 0 29 2 *", after) == datetime(2024, 2, 29, tzinfo=UTC)
    assert next_fire("*/15 * * * *", after) == datetime(2024, 2, 29, tzinfo=UTC)


@pytest.mark.parametrize("text", ["* * * *", "60 * * * *", "0 0 31 2 *", "nonsense"])
def test_what_is_no_cron_expression_is_refused(text):
    with pytest.raises(ValidationError):
        CRON.validate_python(text)


def test_no_schedule_is_an_empty_one():
    assert CRON.validate_python("") == ""
