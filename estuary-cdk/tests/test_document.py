"""Documents keep their bytes; only `_meta` is added."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from estuary_cdk.document import Document, Meta, encoded, meta_json, stamped
from estuary_cdk.errors import ContractError, DataError


def test_text_is_spliced_and_keeps_its_spelling():
    text = b'{"a":1.0,"b":1e3,"c":123456789012345678901234567890}'
    assert stamped(text, meta_json("c", 7)) == b'{"_meta":{"op":"c","row_id":7},' + text[1:]


@pytest.mark.parametrize("text", [b"{}", b"{ }", b' { "a" : 1 }', b'{\n"a":1}'])
def test_any_spelling_of_an_object_takes_a_meta(text):
    expected = {"_meta": {"op": "u"}, **msgspec.json.decode(text)}
    assert msgspec.json.decode(stamped(text, meta_json("u"))) == expected


def test_a_documents_own_meta_wins_and_is_completed():
    text = b'{"n":1.0,"_meta":{"op":"d","file":"x"}}'
    assert msgspec.json.decode(stamped(text, meta_json("u", 3)), type=dict[str, Raw]) == {
        "_meta": Raw(b'{"op":"d","row_id":3,"file":"x"}'),
        "n": Raw(b"1.0"),
    }


def test_the_word_meta_inside_a_value_changes_nothing():
    text = b'{"a":{"_meta":{"op":"d"}},"b":"\\"_meta\\""}'
    stamp = msgspec.json.decode(stamped(text, meta_json("u")))
    assert stamp == {"_meta": {"op": "u"}, **msgspec.json.decode(text)}


@pytest.mark.parametrize("text", [b"[1]", b"1", b"", b'{"_meta":3}'])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(DataError, match="isn't the JSON text of an object"):
        stamped(text, meta_json("u"))


keys = st.text(max_size=6) | st.just("_meta")
flat = st.dictionaries(st.text(max_size=6), st.integers() | st.text() | st.none(), max_size=4)


@given(flat)
def test_stamping_adds_meta_and_nothing_else(document):
    document.pop("_meta", None)
    text = msgspec.json.encode(document)
    assert msgspec.json.decode(stamped(text, meta_json("u"))) == {"_meta": {"op": "u"}, **document}


def test_a_model_writes_what_was_set_under_its_own_names():
    class User(Document):
        name: str
        age: int | None = None

    assert encoded(User(name="a", more=1)) == b'{"name":"a","more":1}'
    deleted = User(name="a", meta_=Meta(op="d"))
    assert msgspec.json.decode(encoded(deleted)) == {"name": "a", "_meta": {"op": "d"}}


def test_a_mapping_keeps_integers_of_any_size():
    assert encoded({"n": 2**70}) == b'{"n":%d}' % 2**70


def test_anything_else_is_the_authors_mistake():
    with pytest.raises(ContractError, match="it is no document"):
        encoded(("a", 1))
