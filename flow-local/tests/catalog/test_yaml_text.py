"""YAML means what it means to Flow, and every value knows its line."""

import pytest

from flow_local.catalog.diagnostics import CatalogError
from flow_local.catalog.nodes import Location, encoded, nearest
from flow_local.catalog.yaml_text import DEPTH_MAX, parse_yaml


def json_of(text):
    return encoded(parse_yaml(text, "flow.yaml")).decode()


@pytest.mark.parametrize(
    ("scalar", "json"),
    [
        ("true", "true"),
        ("FALSE", "false"),
        ("yes", '"yes"'),
        ("on", '"on"'),
        ("~", "null"),
        ("Null", "null"),
        ("", "null"),
        ("1", "1"),
        ("+1", "1"),
        ("-0", "-0"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1.0", "1.0"),
        ("1e3", "1e3"),
        ("1.10E+300", "1.10E+300"),
        (".5", "0.5"),
        ("5.", "5.0"),
        ("-.5e1", "-0.5e1"),
        ("0x1F", "31"),
        ("-0o17", "-15"),
        ("0b101", "5"),
        ("007", '"007"'),
        ("1_000", '"1_000"'),
        ("12:30", '"12:30"'),
        ("2020-01-01", '"2020-01-01"'),
        ("e3", '"e3"'),
        ("1.2.3", '"1.2.3"'),
        ("infinity", '"infinity"'),
        ("'1'", '"1"'),
        ('"true"', '"true"'),
        ("!!str 1", '"1"'),
        ("!!float 1", "1"),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(scalar, json):
    assert json_of(f"- {scalar}") == f"[{json}]"


def test_a_block_of_text_stays_text():
    assert json_of("a: |\n  1\n") == '{"a":"1\\n"}'


def test_a_key_is_its_spelling():
    assert json_of("1: a\ntrue: b\n1.50: c\n") == '{"1":"a","true":"b","1.50":"c"}'


def test_an_alias_repeats_its_anchor():
    assert json_of("a: &x {b: 1.0}\nc: *x\n") == '{"a":{"b":1.0},"c":{"b":1.0}}'


def test_a_merge_key_adds_what_is_not_given():
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 3}\n"
    assert json_of(text).endswith('"c":{"x":3,"y":1,"z":2}}')


def test_a_quoted_merge_key_is_a_key():
    assert json_of('"<<": 1') == '{"<<":1}'


def test_values_know_their_place():
    root = parse_yaml("a:\n  b:\n    - 1\n    - c: 2\n", "x/flow.yaml")
    assert nearest(root, "/a/b") == Location("x/flow.yaml", 2, 3)
    assert nearest(root, "/a/b/1/c") == Location("x/flow.yaml", 4, 7)
    assert nearest(root, "/a/b/7/none") == Location("x/flow.yaml", 2, 3)


def test_an_empty_file_is_an_empty_mapping():
    assert json_of("# nothing\n") == "{}"


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' is given twice, first in line 1"),
        ("a: &x\n  b: *x\n", 1, "an anchor contains itself"),
        ("a: 1\n---\nb: 2\n", 2, "but found another document"),
        ("a: *nothing\n", 1, "found undefined alias"),
        ("? [1]\n: 2\n", 1, "a key must be a string"),
        ("a:\n  <<: 1\n", 2, "needs a mapping"),
        ("a: !!int x\n", 1, "isn't of the type that its tag says"),
        ("a: !mine x\n", 1, "isn't supported"),
        ("a: !!set {x}\n", 1, "isn't supported"),
        ("a:\n\t- 1\n", 2, "cannot start any token"),
        ("a: .nan\n", 1, "isn't a number of JSON"),
        ("a: b: c\n", 1, "mapping values are not allowed"),
        ("a: \x01\n", 1, "control characters are not allowed"),
    ],
)
def test_a_mistake_stands_at_its_line(text, line, reason):
    with pytest.raises(CatalogError, match="as YAML: ") as caught:
        parse_yaml(text, "flow.yaml")
    assert reason in str(caught.value)
    assert caught.value.location.line == line


def test_nesting_has_a_limit():
    deep = DEPTH_MAX + 1
    with pytest.raises(CatalogError, match=f"nested more than {DEPTH_MAX} deep"):
        parse_yaml("[" * deep + "]" * deep, "flow.yaml")
    parse_yaml("[" * DEPTH_MAX + "]" * DEPTH_MAX, "flow.yaml")


def test_aliases_of_aliases_have_a_limit():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 10) + "]" for n in range(1, 20)]
    with pytest.raises(CatalogError, match="aliases expand to more than"):
        parse_yaml("\n".join(lines), "flow.yaml")
