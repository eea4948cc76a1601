"""Which version of the content, and what proves that a range belongs to it."""

import pytest
from multidict import CIMultiDict

from estuary_cdk.kits.http.conditions import (
    ContentRange,
    Validators,
    content_range,
    resume_condition,
    validators,
)

LATER = "Wed, 01 May 2024 12:01:00 GMT"
EARLIER = "Wed, 01 May 2024 12:00:00 GMT"


def test_they_are_read_from_headers_in_any_case() -> None:
    headers = CIMultiDict({"etag": '"a"', "LAST-MODIFIED": EARLIER})
    assert validators(headers) == Validators('"a"', EARLIER)
    assert validators({}) == Validators()


@pytest.mark.parametrize(
    ("known", "headers"),
    [
        (Validators('W/"a"', EARLIER), {"If-None-Match": 'W/"a"'}),
        (Validators(None, EARLIER), {"If-Modified-Since": EARLIER}),
        (Validators(), {}),
    ],
)
def test_conditions_prefer_the_etag(known: Validators, headers: dict[str, str]) -> None:
    assert known.conditional_headers() == headers


@pytest.mark.parametrize(
    ("headers", "condition"),
    [
        ({"ETag": '"a"'}, '"a"'),
        ({"ETag": 'W/"a"', "Last-Modified": EARLIER, "Date": LATER}, None),
        ({"Last-Modified": EARLIER, "Date": LATER}, EARLIER),
        ({"Last-Modified": EARLIER, "Date": EARLIER}, None),
        ({"Last-Modified": EARLIER}, None),
        ({"Last-Modified": "long ago", "Date": LATER}, None),
        ({}, None),
    ],
)
def test_only_strong_validators_prove_sameness(headers, condition) -> None:
    assert resume_condition(headers) == condition


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 5-9/10", ContentRange(5, 9, 10)),
        ("bytes 5-9/*", ContentRange(5, 9, None)),
        ("bytes */10", None),
        ("items 0-1/2", None),
        ("", None),
    ],
)
def test_content_ranges(text: str, expected: ContentRange | None) -> None:
    assert content_range({"Content-Range": text}) == expected
