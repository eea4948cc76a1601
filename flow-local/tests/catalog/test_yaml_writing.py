"""What is written as YAML is read back as it was, by readers of either version."""

import msgspec
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from flow_local.catalog.json_text import parse_json
from flow_local.catalog.nodes import encoded
from flow_local.catalog.yaml_text import parse_yaml
from flow_local.catalog.yaml_writing import block_lines

WORDS = st.sampled_from(
    ["yes", "No", "null", "~", "1e3", "0x1f", "a: b", "# a", "- a", "2020-01-01"]
)
TEXT = st.text() | WORDS
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=8,
)


@settings(max_examples=50)
@given(st.dictionaries(TEXT, VALUES, min_size=1))
def test_what_is_written_is_read_back(value):
    text = msgspec.json.encode(value)
    lines = block_lines(parse_json(text.decode(), "x"), 2)
    assert encoded(parse_yaml("\n".join(lines), "x")) == text


@settings(max_examples=50)
@given(st.dictionaries(TEXT, VALUES, min_size=1))
def test_older_readers_agree(value):
    lines = block_lines(parse_json(msgspec.json.encode(value).decode(), "x"), 0)
    assert yaml.safe_load("\n".join(lines)) == value


def test_a_number_keeps_its_spelling():
    node = parse_json('{"a": [1.0, 1e3, 123456789012345678901234567890]}', "x")
    assert block_lines(node, 0) == ["a: [1.0, 1e3, 123456789012345678901234567890]"]


def test_nested_values_are_in_block_style_and_short_lists_in_one_line():
    node = parse_json('{"k": ["/id"], "l": [{"a": {"b": 1}, "c": []}, [{}]], "m": {}}', "x")
    assert "\n".join(block_lines(node, 2)) == (
        "  k: [/id]\n  l:\n    - a:\n        b: 1\n      c: []\n    - - {}\n  m: {}"
    )
