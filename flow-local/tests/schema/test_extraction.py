"""Extraction finds the exact bytes of every pointer, in documents of any shape."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError, DataError
from flow_local.schema import pointers
from flow_local.schema.extraction import Extractor

NAMES = st.sampled_from(["a", "b", "0", "1", "01", "-", "", "a/b", "m~n", "é", 'q"', "class", "f0"])
DOCUMENTS = st.dictionaries(
    NAMES,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    ),
)
POINTERS = st.lists(st.lists(NAMES, max_size=3).map(pointers.joined), min_size=1, max_size=6)


def walked(value, tokens):
    for token in tokens:
        if isinstance(value, dict) and token in value:
            value = value[token]
        elif isinstance(value, list) and token in ("0", "1") and int(token) < len(value):
            value = value[int(token)]
        else:
            return "missing"
    return value


@given(DOCUMENTS, POINTERS)
def test_every_pointer_gives_what_a_walk_over_the_document_gives(document, wanted):
    rows = Extractor(wanted, dict.fromkeys(wanted, b'"missing"')).rows(
        [msgspec.json.encode(document)]
    )
    expected = [walked(document, pointers.tokens(pointer)) for pointer in wanted]
    assert [msgspec.json.decode(value) for value in rows[0]] == expected


def test_values_keep_their_exact_bytes():
    document = (
        rb'{"n": 1.0, "e":1e3, "o" : {"x": [ 1 ,2 ], "\u0061": "\u00e9"} , "big":%d}' % 10**30
    )
    rows = Extractor(["/n", "/e", "/o/x", "/o/a", "/big", ""]).rows([document])
    assert rows == [(b"1.0", b"1e3", b"[ 1 ,2 ]", rb'"\u00e9"', str(10**30).encode(), document)]


def test_a_missing_value_is_null_unless_it_has_a_default():
    extractor = Extractor(["/a", "/b", "/c/d"], {"/b": b'"none"'})
    assert extractor.rows([b"{}", b'{"b":null,"c":null}', b'{"c":5}']) == [
        (b"null", b'"none"', b"null"),
        (b"null", b"null", b"null"),
        (b"null", b'"none"', b"null"),
    ]


def test_the_last_of_equal_properties_counts():
    assert Extractor(["/a", "/b/c"]).rows([b'{"a":1,"b":{"c":1},"a":2,"b":{"c":2}}']) == [
        (b"2", b"2")
    ]


def test_a_pointer_may_be_asked_for_twice_and_lie_inside_another():
    extractor = Extractor(["/a/b", "/a", "/a/b", ""])
    document = b'{"a":{"b":1}}'
    assert extractor.rows([document]) == [(b"1", b'{"b":1}', b"1", document)]


def test_a_number_is_an_index_of_an_array_and_a_property_of_an_object():
    extractor = Extractor(["/a/1", "/a/01", "/a/-"])
    assert extractor.rows([b'{"a":[5,6]}', b'{"a":{"1":7,"01":8,"-":9}}']) == [
        (b"6", b"null", b"null"),
        (b"7", b"8", b"9"),
    ]


def test_a_document_that_is_not_json_is_named():
    with pytest.raises(DataError, match="can't read document"):
        Extractor(["/a"]).rows([b'{"a":1}', b'{"a":'])


@pytest.mark.parametrize("pointer", ["a", "a/b", "/a~2"])
def test_a_bad_pointer_is_refused(pointer):
    with pytest.raises(ConfigError, match="can't read JSON pointer"):
        Extractor([pointer])


@given(st.lists(DOCUMENTS, min_size=1, max_size=4), POINTERS)
def test_columns_are_the_rows_turned(documents, wanted):
    encoded = list(map(msgspec.json.encode, documents))
    extractor = Extractor(wanted)
    columns = [tuple(map(bytes, column)) for column in extractor.columns(encoded)]
    assert columns == list(zip(*extractor.rows(encoded), strict=True))
