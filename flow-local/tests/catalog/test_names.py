"""Names fit the rule, and any recommendation can be turned into one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_local.catalog.names import name_mistake, normalized, prefixes


@pytest.mark.parametrize("name", ["a", "acme/a-b_c.d", "Größe/日本/1", "a/b/c/d"])
def test_letters_digits_and_some_marks_make_a_name(name):
    assert name_mistake(name) is None


@pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "a b", "a/..", "./a", "a\n", "a" * 513])
def test_other_names_are_refused(name):
    assert name_mistake(name) is not None


@given(st.text())
def test_a_normalized_name_is_a_name(text):
    assert name_mistake(normalized(text)) is None


@pytest.mark.parametrize(
    ("recommended", "name"),
    [("public/users", "public/users"), ("my table!", "my_table_"), ("/a//b/", "a/b"), ("", "_")],
)
def test_normalizing_changes_only_what_it_must(recommended, name):
    assert normalized(recommended) == name


def test_prefixes_are_the_directories_above():
    assert prefixes("a/b/c") == ["a", "a/b"]
