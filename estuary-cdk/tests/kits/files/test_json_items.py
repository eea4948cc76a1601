"""JSON files of any arrangement, cut anywhere, become the objects they hold, unchanged."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import json_items
from estuary_cdk.kits.files.json_items import JsonItems
from estuary_cdk.kits.files.jsonl import JsonLines

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a"\\{}[],:\né')),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)
objects = st.lists(st.dictionaries(st.text(max_size=3), values, max_size=3), max_size=6)


def parse(content, cuts=(), parser=JsonItems):
    reading = parser("f.json", "utf-8")
    edges = sorted({0, len(content), *(cut % (len(content) + 1) for cut in cuts)})
    records = []
    for start, end in pairwise(edges):
        records += reading.feed(content[start:end])
    return [b"{" + record for record in records + reading.finish()]


def outcome(content, cuts=(), parser=JsonItems):
    try:
        return parse(content, cuts, parser)
    except DataError as error:
        return error.line, error.column


@settings(deadline=None)
@given(
    items=objects,
    arrangement=st.sampled_from(["array", "concatenated", "lines", "both"]),
    cuts=st.lists(st.integers(0, 500), max_size=10),
)
def test_items_come_out_of_every_arrangement_wherever_it_is_cut(items, arrangement, cuts):
    texts = [msgspec.json.encode(item) for item in items]
    content = {
        "array": b" [" + b" , ".join(texts) + b"]\n",
        "concatenated": b"".join(texts),
        "lines": b"\r\n".join(texts),
        "both": b"[" + b",".join(texts) + b"]" + b"".join(texts),
    }[arrangement]
    assert parse(content, cuts) == texts * (2 if arrangement == "both" else 1)


@settings(deadline=None)
@given(
    content=st.text(st.sampled_from('{}[]":,1a\\ \né'), max_size=40).map(str.encode),
    cuts=st.lists(st.integers(0, 60), max_size=6),
    parser=st.sampled_from([JsonItems, JsonLines]),
)
def test_the_outcome_for_noise_does_not_depend_on_where_it_is_cut(content, cuts, parser):
    whole = outcome(content, parser=parser)
    assert outcome(content, cuts, parser) == whole


def test_documents_keep_their_bytes():
    one = b'{"b" : 1.0,"a":1e3, "n":123456789012345678901234567890,"s":"\\u00e9\\/"}'
    assert parse(b"[" + one + b"]") == [one]
    assert parse(one, parser=JsonLines) == [one]


def test_an_indented_document_goes_onto_one_line():
    assert parse(b'[\n {\n  "a": 1.0,\r\n  "b": "x\\ny z"\n }\n]') == [b'{"a":1.0,"b":"x\\ny z"}']


def test_a_byte_order_mark_is_no_content():
    assert parse(b'\xef\xbb\xbf{"a":1}', cuts=range(10)) == [b'{"a":1}']


@pytest.mark.parametrize(
    ("content", "place", "reason"),
    [
        (b'[{"a":1}\n,{"a":01}]', "line 2, column 2", "invalid number"),
        (b'[{"a":1},]', "line 1, column 9", "unexpected ','"),
        (b'[{"a":1}\n {"b":1}]', "line 2, column 2", "a comma is missing"),
        (b'{"a":1},{"b":1}', "line 1, column 8", "unexpected ','"),
        (b"\n [1, 2]", "line 2, column 3", "unexpected '1"),
        (b"[[1]]", "line 1, column 2", "a record must be an object"),
        (b'"text"', "line 1, column 1", "a record must be an object"),
        (b'[{"a":[1}]', "line 1, column 2", "malformed"),
        (b'[{"a":"', "line 1, column 8", "the file ends inside an object"),
        (b'[{"a":1}', "line 1, column 9", "the file ends inside an array"),
        (b"[]]", "line 1, column 3", "a record must be an object"),
    ],
)
def test_what_is_not_valid_is_named_by_its_place(content, place, reason):
    with pytest.raises(DataError) as caught:
        parse(content)
    assert caught.value.message.startswith(f"can't read 'f.json' {place}: ")
    assert reason in caught.value.message


@pytest.mark.parametrize("parser", [JsonItems, JsonLines])
def test_bytes_that_are_not_utf_8_are_named_by_their_place(parser):
    with pytest.raises(DataError, match=r"byte 0xff in line 2 \(byte 14 of the file\)"):
        parse(b'{"a":1}\n{"a":"\xff"}', parser=parser)


def test_an_endless_object_is_refused(monkeypatch):
    monkeypatch.setattr(json_items, "RECORD_BYTES_MAX", 1000)
    with pytest.raises(DataError, match="longer than 1000 bytes"):
        parse(b'[{"a":"' + b"x" * 2000, cuts=range(0, 2000, 100))


def test_an_object_of_fifty_megabytes_is_read_in_small_blocks():
    text = b'{"a":"' + b'x\\"' * (17 << 20) + b'"}'
    reading = JsonItems("f.json", "utf-8")
    records = []
    for start in range(0, len(text), 1 << 16):
        records += reading.feed(text[start : start + (1 << 16)])
    assert records + reading.finish() == [text[1:]]
