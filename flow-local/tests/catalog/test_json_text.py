"""JSON is read strictly, with places and the spelling of numbers."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_local.catalog.diagnostics import CatalogError
from flow_local.catalog.json_text import parse_json
from flow_local.catalog.nodes import Location, encoded, nearest

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(VALUES)
def test_every_value_survives(value):
    text = msgspec.json.encode(value)
    assert encoded(parse_json(text.decode(), "flow.json")) == text
    assert encoded(parse_json(msgspec.json.format(text).decode(), "flow.json")) == text


@pytest.mark.parametrize("number", ["1.0", "1e3", "-0", "1.50E-7", "9" * 30])
def test_a_number_keeps_its_spelling(number):
    assert encoded(parse_json(f" {number}\t", "flow.json")).decode() == number


def test_an_escaped_pair_is_one_character():
    assert parse_json('"\\ud83d\\ude00"', "flow.json").value == "\U0001f600"


def test_values_know_their_place():
    root = parse_json('{\n\t"a": [1,\n  {"b": 2}]}', "flow.json")
    assert nearest(root, "/a") == Location("flow.json", 2, 2)
    assert nearest(root, "/a/1") == Location("flow.json", 3, 3)
    assert nearest(root, "/a/1/b") == Location("flow.json", 3, 4)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("", 1, "expected a value, found 'the end'"),
        ('{"a": 1,\n "a": 2}', 2, "the key 'a' is given twice, first in line 1"),
        ("[1,\n2,\n]", 3, "expected a value"),
        ('{"a" 1}', 1, "expected ':'"),
        ("{a: 1}", 1, "expected a key in double quotes"),
        ('["\n"]', 1, "a string doesn't end in its line"),
        ('"\\x"', 1, "an escape that JSON doesn't know"),
        ('"\\ud800"', 1, "an escape that JSON doesn't know"),
        ("[1]\n2", 2, "there is more after the value"),
        ("[1 2]", 1, "expected ',' or ']'"),
        ("[01]", 1, "expected ',' or ']'"),
        ("[NaN]", 1, "expected a value"),
        ("[" * 1000, 1, "nested more than"),
    ],
)
def test_a_mistake_stands_at_its_line(text, line, reason):
    with pytest.raises(CatalogError, match="as JSON: ") as caught:
        parse_json(text, "flow.json")
    assert reason in str(caught.value)
    assert caught.value.location.line == line
