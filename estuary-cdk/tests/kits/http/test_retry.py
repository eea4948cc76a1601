"""Back-off stays within its bounds, Retry-After is understood, and only what may is repeated."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.kits.http.errors import Refused, Unavailable, http_error
from estuary_cdk.kits.http.retry import Retry, retry_after

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)


@given(st.integers(1, 10_000), st.integers())
def test_waits_grow_to_the_longest_and_never_beyond(attempt: int, seed: int) -> None:
    retry = Retry(first=timedelta(seconds=2), longest=timedelta(seconds=60))
    ceiling = min(60, 2 * 2 ** min(attempt - 1, 10))
    assert retry.ceiling(attempt) == ceiling
    assert 0 <= retry.wait(attempt, random.Random(seed)) <= ceiling


def test_jitter_is_full() -> None:
    dice = random.Random(7)
    waits = [Retry().wait(4, dice) for _ in range(1000)]
    assert min(waits) < 0.5
    assert max(waits) > 7.5
    assert 3.5 < sum(waits) / 1000 < 4.5


@given(st.integers(0, 10**9))
def test_seconds_and_dates_mean_the_same(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after({"Retry-After": str(seconds)}, NOW) == seconds
    assert retry_after({"Retry-After": date}, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", 1.5),
        (" 7 ", 7),
        ("Wed, 01 May 2024 11:00:00 GMT", 0),
        ("Wednesday, 01-May-24 12:00:30 GMT", 30),
    ],
)
def test_other_spellings(text: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": text}, NOW) == seconds


@given(st.text())
def test_no_header_breaks_the_parser(text: str) -> None:
    seconds = retry_after({"Retry-After": text}, NOW)
    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("error", "repeatable", "again"),
    [
        (http_error("GET", "u", 503, body="", headers={}), True, True),
        (http_error("POST", "u", 503, body="", headers={}), False, False),
        (http_error("POST", "u", 429, body="", headers={}), False, True),
        (http_error("GET", "u", 404, body="", headers={}), True, False),
        (http_error("GET", "u", 501, body="", headers={}), True, False),
        (TransientError("broke"), True, True),
        (TransientError("broke"), False, False),
        (TransientError("refused", sent=False), False, True),
        (TransientError("broke", exhausted=True), True, False),
        (ConfigError("no such host"), True, False),
    ],
)
def test_what_is_tried_again(error: Exception, repeatable: bool, again: bool) -> None:
    assert Retry().applies(error, repeatable=repeatable) is again


def test_the_status_tells_who_must_act() -> None:
    kinds = {
        status: type(http_error("GET", "u", status, body="", headers={})).__name__
        for status in (304, 400, 401, 403, 404, 408, 418, 425, 429, 500, 503, 599)
    }
    assert kinds == {
        304: "HttpError",
        **dict.fromkeys((400, 401, 403, 404, 418), Refused.__name__),
        **dict.fromkeys((408, 425, 429, 500, 503, 599), Unavailable.__name__),
    }
