"""Elements of XML files become records, in memory that doesn't grow with the file."""

import resource

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import FileReader, ParserOptions, xml_records


def read(content, element=None, block=1 << 16, name="f.xml"):
    config = {"format": {"type": "xml", "config": {"element": element}}} if element else {}
    reader = FileReader(name, ParserOptions.model_validate(config))
    blocks = [content[at : at + block] for at in range(0, len(content), block)]
    found = [records for each in blocks for records in reader.feed(each)]
    found += reader.finish()
    return [msgspec.json.decode(b"{" + body) for each in found for body in each.bodies]


ORDERS = """<?xml version="1.0" encoding="iso-8859-1"?>
<!-- all of them --><o:orders xmlns:o="urn:o" total="2">
  <o:order id="1"><name>Ann &amp; B\xfcb</name><item n="1">x</item><item n="2"/><note/></o:order>
  <?skip me?><o:order id="2">text <b>bold</b> more</o:order>
  <single>just text</single>
</o:orders>""".encode("latin-1")
EXPECTED = [
    {
        "@id": "1",
        "name": "Ann & B\xfcb",
        "item": [{"@n": "1", "#text": "x"}, {"@n": "2"}],
        "note": None,
    },
    {"@id": "2", "b": "bold", "#text": "text  more"},
    {"#text": "just text"},
]


@given(st.integers(1, 100))
def test_the_children_of_the_root_are_records_however_the_file_is_cut(block):
    assert read(ORDERS, block=block) == EXPECTED


def test_elements_can_be_chosen_by_name_and_the_outermost_count():
    content = b"<a><b><i x='1'><i x='2'/></i></b><c><i x='3'/></c><i/></a>"
    assert read(content, "i") == [{"@x": "1", "i": {"@x": "2"}}, {"@x": "3"}, {"#text": None}]


def test_it_is_told_by_its_first_bytes():
    assert read(ORDERS, name="f") == EXPECTED


BOMB = b"""<!DOCTYPE r [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><r><x>&b;</x></r>"""
OUTSIDE = b"""<!DOCTYPE r [<!ENTITY f SYSTEM "file:///etc/hostname">]><r><x>&f;</x></r>"""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BOMB, "it uses the entity &b;"),
        (OUTSIDE, "it uses the entity &f;"),
        (b"<a><b></a>", "line 1, column 11: not well-formed XML: .*mismatch"),
        (ORDERS[:-20], "not well-formed XML"),
        (b"<a>" + b"<b>" * 300, "not well-formed XML: .*depth"),
        (b"not xml", "line 1, column 1: not well-formed XML"),
    ],
)
def test_what_is_no_xml_or_not_of_the_file_itself_is_refused(content, reason):
    with pytest.raises(DataError, match=f"can't read 'f.xml'.*{reason}"):
        read(content)


def test_a_record_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(xml_records, "RECORD_BYTES_MAX", 100_000)
    with pytest.raises(DataError, match="a record is longer than 100000 bytes"):
        read(b"<a><b>" + b"<c>x</c>" * 50_000)


def test_memory_does_not_grow_with_the_file():
    reader = FileReader("f.xml", ParserOptions())
    part = b"".join(b'<row id="%d"><name>somebody</name></row>' % n for n in range(5_000))
    list(reader.feed(b"<rows>" + part))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = sum(len(r.bodies) for _ in range(30) for r in reader.feed(part))
    assert count == 150_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@given(st.text("<>/a&;\"=' ![]-?", max_size=40), st.integers(1, 9))
def test_any_text_gives_records_or_one_error(text, block):
    try:
        read(("<a>" + text).encode(), block=block)
    except DataError as error:
        told = str(error)
    else:
        told = "can't read"
    assert told.startswith("can't read")
