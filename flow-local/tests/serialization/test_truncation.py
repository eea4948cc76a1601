import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.protocol.flow import SerPolicy
from flow_local.serialization import Truncation

LIMITED = Truncation(SerPolicy(4, 2, 3))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda below: st.lists(below, max_size=5) | st.dictionaries(st.text(), below, max_size=5),
)


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        (b'"abcd"', b'"abcd"'),
        (b'"abcde"', b'"abcd"'),
        ('"abcé"'.encode(), b'"abc"'),
        (b'"\\u0061\\u0062"', b'"\\u0061\\u0062"'),
        (b"[1e3, 1.0,3]", b"[1e3, 1.0,3]"),
        (b"[1e3, 1.0,3,4]", b"[1e3,1.0,3]"),
        (b'{"a":1,"b":2,"c":3}', b'{"a":1,"b":2}'),
        (b'{"a":{"b":["abcdef"]}}', b'{"a":{"b":["abcd"]}}'),
        (b"12345678901234567890", b"12345678901234567890"),
    ],
)
def test_values_are_cut_to_size(text, cut):
    assert LIMITED.value(text) == cut


def test_a_document_keeps_its_properties_but_not_those_of_objects_inside():
    document = b'{"a":{"x":1,"y":2,"z":3},"b":"abcdef","c":3}'
    assert LIMITED.document(document) == b'{"a":{"x":1,"y":2},"b":"abcd","c":3}'


def within(value, *, root=False) -> bool:
    if isinstance(value, str):
        return len(value.encode()) <= 4
    if isinstance(value, list):
        return len(value) <= 3 and all(map(within, value))
    if isinstance(value, dict):
        return (root or len(value) <= 2) and all(map(within, value.values()))
    return True


@given(VALUES)
def test_what_is_within_the_limits_stays_and_all_else_comes_within(value):
    text = msgspec.json.encode(value)
    cut = LIMITED.value(text)
    assert within(msgspec.json.decode(cut))
    assert (cut is text) == within(value)
    assert within(msgspec.json.decode(LIMITED.document(text)), root=True)


def test_without_limits_nothing_is_cut():
    text = b'["' + b"x" * 100_000 + b'"]'
    assert Truncation(SerPolicy()).value(text) is text
