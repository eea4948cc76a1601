"""What a test expects of a document, and what it has."""

import pytest

from flow_local.catalog_tests import differences


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (b'{"a":1}', b'{"a":1.0,"b":2}'),
        (b'{"a":[{"b":1}]}', b'{"a":[{"b":1,"c":2}]}'),
        (b'{"n":123456789012345678901234567890}', b'{"n":123456789012345678901234567890}'),
        (b"{}", b'{"a":null}'),
    ],
)
def test_more_than_is_expected_may_be_there(expected, found):
    assert differences(expected, found) == []


@pytest.mark.parametrize(
    ("expected", "found", "pointer", "there"),
    [
        (b'{"a":null}', b"{}", "/a", b"nothing"),
        (b'{"a":1}', b'{"a":true}', "/a", b"true"),
        (b'{"a":[1]}', b'{"a":[1,2]}', "/a/1", b"2"),
        (b'{"a":[1,2]}', b'{"a":[1]}', "/a/1", b"nothing"),
        (b'{"a":{"b/c":1}}', b'{"a":{"b/c":1.5}}', "/a/b~1c", b"1.5"),
        (
            b'{"n":123456789012345678901234567890}',
            b'{"n":123456789012345678901234567891}',
            "/n",
            b"123456789012345678901234567891",
        ),
        (b'{"a":{}}', b'{"a":[]}', "/a", b"[]"),
    ],
)
def test_a_difference_tells_where_and_what(expected, found, pointer, there):
    [difference] = differences(expected, found)
    assert (difference.pointer, difference.found) == (pointer, there)
