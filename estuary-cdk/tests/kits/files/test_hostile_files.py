"""No file, whatever is in it, is anything but records or one clear error."""

import base64
import codecs
import gzip
import io
import resource
import zipfile
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import FileReader, Hints, ParserOptions, compression
from estuary_cdk.kits.files.detection import MAGIC
from estuary_cdk.kits.files.formats import FORMATS
from estuary_cdk.kits.files.options import Compression

EMPTY_MESSAGE = b"\x0a\x08\x0a\x01t\x22\x03\x0a\x01M"  # a descriptor set with one, called M
CONFIGS = {
    "protobuf": {
        "descriptorSet": base64.b64encode(EMPTY_MESSAGE).decode(),
        "message": "M",
    }
}
NAMES = [row.name for row in FORMATS]
STARTS = [
    b"",
    *MAGIC,
    *(magic for row in FORMATS for magic in row.magic),
    *(
        b'{"a":[',
        b"[{",
        b'a,b\n"',
        b"<a><b>",
        b"#Fields: a b\n1 ",
        codecs.BOM_UTF16_LE,
        b"\xef\xbb",
    ),
]


def options(form=None, compression=None):
    chosen = {"type": form or "auto"}
    if form in CONFIGS:
        chosen["config"] = CONFIGS[form]
    if form == "tsv":
        chosen = {"type": "csv", "config": {"delimiter": "\t"}}
    return ParserOptions.model_validate({"format": chosen, "compression": compression})


def read(content, name="f", chosen=None, hints=None, block=1 << 18):
    reader = FileReader(name, chosen or options(), hints)
    blocks = [content[at : at + block] for at in range(0, len(content), block)]
    bodies = [b for each in blocks for records in reader.feed(each) for b in records.bodies]
    bodies += [body for records in reader.finish() for body in records.bodies]
    return [msgspec.json.decode(b"{" + body) for body in bodies]


@settings(max_examples=300)
@given(
    st.sampled_from([None, *NAMES]),
    st.sampled_from([None, None, None, *Compression.__args__]),
    st.lists(st.sampled_from(STARTS) | st.binary(max_size=20), max_size=5).map(b"".join),
    st.integers(1, 40),
)
def test_any_bytes_in_any_format_give_records_or_one_error(form, packed, content, block):
    with suppress(DataError):
        for document in read(content, chosen=options(form, packed), block=block):
            assert isinstance(document, dict)


@pytest.mark.parametrize("form", NAMES)
def test_empty_files_have_no_records(form):
    assert read(b"", chosen=options(form)) == []
    assert read(gzip.compress(b""), chosen=options(form)) == []


def zipped(**entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("_", "."), content)
    return file.getvalue()


WIDE = range(10_000)
CORPUS = {
    "utf-16 with a mark": ("f.csv", "a\nü\n".encode("utf-16"), [{"a": "ü"}]),
    "utf-8 with a mark": ("f.jsonl", codecs.BOM_UTF8 + b'{"a":1}\n', [{"a": 1}]),
    "two encodings": ("f.csv", "a\nü\n".encode() + "ü\n".encode("latin-1"), "isn't utf-8"),
    "two encodings in lines": ("f.jsonl", b'{"a":"\xfc"}\n', "isn't utf-8"),
    "cut inside a character": ("f.csv", "a\nü".encode()[:-1], "isn't utf-8.*unexpected end"),
    "nothing but a mark": ("f.csv", codecs.BOM_UTF8, []),
    "ragged rows": ("f.csv", b"a,b\n1\n1,2\n", [{"a": 1, "b": None}, {"a": 1, "b": 2}]),
    "too ragged rows": ("f.csv", b"a,b\n1,2,3\n", "line 2, column 3: the row has 3 cells"),
    "a quote left open": ("f.csv", b'a\n"1\n2\n', "line 2, column 1: a quote is never closed"),
    "nothing but quotes": ("f.csv", b'"' * 1001, "a quote is never closed"),
    "binary as csv": ("f.csv", bytes(range(256)), "isn't utf-8"),
    "nul bytes": ("f.csv", b"a\n\0\n", [{"a": "\0"}]),
    "deep arrays": ("f.json", b'[{"a":' + b"[" * 100_000, "ends inside an object"),
    "deep objects": ("f.jsonl", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "line 1, column 1"),
    "10,000 columns": (
        "f.csv",
        (",".join(f"c{n}" for n in WIDE) + "\n" + ",".join(map(str, WIDE)) + "\n").encode(),
        [{f"c{n}": n for n in WIDE}],
    ),
    "10,000 names alike": (
        "f.csv",
        b"c," * 9_999 + b"c\n" + b"1," * 9_999 + b"1\n",
        [{"c" if n == 1 else f"c_{n}": 1 for n in range(1, 10_001)}],
    ),
    "gzip cut off": ("f.csv.gz", gzip.compress(b"a\n1\n")[:-3], "gzip data ends early"),
    "gzip damaged": ("f.csv.gz", gzip.compress(b"a\n1\n")[:-8] + b"12345678", "not valid gzip"),
    "gzip in gzip": ("f.csv.gz", gzip.compress(gzip.compress(b"a\n1\n")), "isn't utf-8"),
    "a zip of zips": ("f.zip", zipped(a_zip=zipped(b_csv=b"a\n1\n")), "can't tell the format"),
    "an empty zip": ("f.zip", zipped(), []),
    "a zip with an empty file": ("f.zip", zipped(a_csv=b"", b_csv=b"a\n1\n"), [{"a": 1}]),
}


@pytest.mark.parametrize("case", CORPUS)
@pytest.mark.parametrize("block", [7, 1 << 18])
def test_the_corpus_is_read_as_it_should_be(case, block):
    name, content, expected = CORPUS[case]
    if isinstance(expected, str):
        with pytest.raises(DataError, match=expected):
            read(content, name, block=block)
    else:
        assert read(content, name, block=block) == expected


@pytest.mark.parametrize("name", ["f.csv", "f.json", "f.jsonl", "f.log"])
def test_a_line_of_fifty_million_bytes_is_a_record(name):
    cell = b"x" * 50_000_000
    content = {"f.csv": b"a\n%b\n", "f.log": b"%b\n"}.get(name, b'{"a":"%b"}\n') % cell
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [document] = read(content, name, options("lines") if name == "f.log" else None)
    assert list(map(len, document.values())) == [50_000_000]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000


@pytest.mark.parametrize("name", ["f.csv", "f.parquet", "f.xlsx", "f.avro", "f.xml"])
def test_a_bomb_is_refused_whatever_it_claims_to_be(name, monkeypatch):
    monkeypatch.setattr(compression, "EXPANSION_FREE_BYTES", 1 << 20)
    with pytest.raises(DataError):
        read(gzip.compress(b"x" * (1 << 23)), name + ".gz")


@pytest.mark.parametrize("content_type", ["text/csv; charset=nonsense", "text/csv; charset=hex"])
def test_a_charset_that_is_none_is_told(content_type):
    with pytest.raises(DataError, match="charset"):
        read(b"a\n1\n", hints=Hints(content_type))
