"""A stored file becomes records, whatever it is wrapped in."""

import codecs
import gzip
import io
import zipfile

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError, DataError
from estuary_cdk.kits.files import FileReader, Hints, ParserOptions

CSV = b"a,b\n1,x\n2,y\n"
JSON = b'[{"a":1,"b":"x"},{"a":2,"b":"y"}]'
LINES = b'{"a":1,"b":"x"}\n{"a":2,"b":"y"}\n'
BODIES = [b'"a":1,"b":"x"}', b'"a":2,"b":"y"}']


def read(name, content, hints=None, block=1 << 16, **options):
    reader = FileReader(name, ParserOptions.model_validate(options), hints)
    blocks = [content[start : start + block] for start in range(0, len(content), block)]
    records = [r for b in blocks for r in reader.feed(b)]
    return [
        (r.file, r.first + at, body)
        for r in [*records, *reader.finish()]
        for at, body in enumerate(r.bodies)
    ]


def archive(*entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in entries:
            zipped.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize("name", ["f.csv", "f.csv.gz", "F.CSV", "f"])
@pytest.mark.parametrize("wrap", [bytes, gzip.compress, zstandard.compress])
@settings(deadline=None, max_examples=5)
@given(block=st.integers(1, 50))
def test_format_and_compression_are_detected(name, wrap, block):
    assert read(name, wrap(CSV), block=block) == [(name, 0, BODIES[0]), (name, 1, BODIES[1])]


@pytest.mark.parametrize(
    ("name", "content_type", "content"),
    [
        ("f.json", None, JSON),
        ("f", "application/json; charset=utf-8", JSON),
        ("f", "application/geo+json", JSON),
        ("f.txt", "text/plain", JSON),
        ("f.jsonl", "application/octet-stream", LINES),
        ("f", "application/x-ndjson", LINES),
        ("f", None, LINES),
        ("f.tsv", None, CSV.replace(b",", b"\t")),
        ("f", "text/csv", CSV),
    ],
)
def test_name_content_type_and_first_bytes_tell_the_format(name, content_type, content):
    assert [body for _, _, body in read(name, content, Hints(content_type))] == BODIES


def test_what_the_user_sets_comes_before_what_is_detected():
    options = {"format": {"type": "csv", "config": {"delimiter": "|"}}, "compression": "none"}
    assert read("f.json", b"a,b|c\n1|2\n", **options) == [("f.json", 0, b'"a,b":1,"c":2}')]
    with pytest.raises(DataError, match="not valid gzip data"):
        read("f.csv", CSV, compression="gzip")


def test_entries_of_an_archive_have_their_own_names_formats_and_offsets():
    content = archive(("x/a.csv", CSV), ("b.json", JSON), ("empty.csv", b""))
    assert [(file, offset) for file, offset, _ in read("z.zip", content, block=9)] == [
        ("z.zip/x/a.csv", 0),
        ("z.zip/x/a.csv", 1),
        ("z.zip/b.json", 0),
        ("z.zip/b.json", 1),
    ]


@pytest.mark.parametrize("name", ["f.csv", "f.json", "f.jsonl", "f"])
def test_an_empty_file_has_no_records(name):
    assert read(name, b"") == []


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (b"", "utf-8")],
)
def test_byte_order_marks_tell_the_encoding(mark, encoding):
    for name, text in (("f.csv", "a\n\u20ac\n"), ("f.json", '{"a":"\u20ac"}')):
        content = mark + text.encode(encoding)
        assert read(name, content, block=3) == [(name, 0, '"a":"\u20ac"}'.encode())]


def test_the_content_types_charset_tells_the_encoding():
    hints = Hints("text/csv; charset=ISO-8859-1")
    assert read("f", b"a\n\xe9\n", hints) == [("f", 0, '"a":"\xe9"}'.encode())]


def test_the_wrong_encoding_is_named_by_file_line_and_byte():
    content = "a,b\n1,ok\n2,caf\xe9\n3,x\n".encode("latin-1")
    with pytest.raises(DataError) as caught:
        read("f.csv", content, Hints("text/csv; charset=utf-8"), block=5)
    assert caught.value.line == 3
    assert "'f.csv': byte 0xe9 in line 3 (byte 14 of the file) isn't utf-8" in str(caught.value)


def test_a_file_that_ends_inside_a_character_is_an_error():
    with pytest.raises(DataError, match="unexpected end of data"):
        read("f.csv", "a\n\xe9".encode()[:-1])


def test_an_unknown_encoding_is_the_users_mistake():
    options = {"format": {"type": "csv", "config": {"encoding": "utf-9"}}}
    with pytest.raises(ConfigError, match="'utf-9'"):
        read("f.csv", CSV, **options)


@pytest.mark.parametrize("content", [b"\x00\x01\x02", b"<html></html>"])
def test_a_format_that_nothing_tells_is_an_error(content):
    with pytest.raises(DataError, match="can't tell the format of 'f'"):
        read("f", content)


def test_malformed_rows_are_counted_over_all_entries():
    bad = b"a,b\n1,2\n1,2,3\n"
    options = {"format": {"type": "csv", "config": {"errorThreshold": 50}}}
    reader = FileReader("z.zip", ParserOptions.model_validate(options))
    list(reader.feed(archive(("a.csv", bad), ("b.csv", bad))))
    list(reader.finish())
    assert reader.malformed_rows == 2
