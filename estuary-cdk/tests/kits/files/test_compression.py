"""Compressed files come out whole, cut anywhere; damaged ones as a sentence."""

import bz2
import gzip
import io
import lzma
import zipfile

import cramjam
import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import compression
from estuary_cdk.kits.files.compression import (
    BZIP2,
    GZIP,
    LZ4,
    PART_BYTES_MAX,
    SNAPPY,
    XZ,
    ZSTD,
    Members,
)
from estuary_cdk.kits.files.zip_entries import ZipEntries

CONTENT = b"".join(b"line %d of some text\n" % n for n in range(3000))
SKIPPABLE = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"


def snappy(content):
    return bytes(cramjam.snappy.compress(content))


def zipped(entries, *, method=zipfile.ZIP_DEFLATED, streamed=False):
    class Pipe(io.BytesIO):
        def seekable(self):
            return not streamed

        def seek(self, *_):
            raise io.UnsupportedOperation

    file = Pipe() if streamed else io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def expanded(decompressor, data, block=50):
    files = {}
    parts = [
        part
        for start in range(0, len(data), block)
        for part in decompressor.feed(data[start : start + block])
    ]
    for part in [*parts, *decompressor.finish()]:
        assert len(part.data) <= PART_BYTES_MAX
        files[part.index, part.entry] = files.get((part.index, part.entry), b"") + part.data
    return files


@pytest.mark.parametrize(
    ("form", "data"),
    [
        (GZIP, gzip.compress(CONTENT)),
        (GZIP, gzip.compress(CONTENT[:999]) + gzip.compress(b"") + gzip.compress(CONTENT[999:])),
        (GZIP, gzip.compress(CONTENT) + bytes(600)),
        (ZSTD, zstandard.compress(CONTENT)),
        (BZIP2, bz2.compress(CONTENT)),
        (BZIP2, bz2.compress(CONTENT[:999]) + bz2.compress(b"") + bz2.compress(CONTENT[999:])),
        (XZ, lzma.compress(CONTENT)),
        (XZ, lzma.compress(CONTENT[:999]) + bytes(8) + lzma.compress(CONTENT[999:]) + bytes(4)),
        (LZ4, lz4.frame.compress(CONTENT)),
        (LZ4, lz4.frame.compress(CONTENT[:999]) + lz4.frame.compress(CONTENT[999:])),
        (SNAPPY, snappy(CONTENT)),
        (SNAPPY, snappy(CONTENT[:999]) + b"\xfe\x02\0\0??" + snappy(CONTENT[999:])),
        (ZSTD, SKIPPABLE + zstandard.compress(CONTENT[:999]) + zstandard.compress(CONTENT[999:])),
    ],
)
@settings(deadline=None, max_examples=20)
@given(block=st.integers(1, 5000))
def test_all_members_come_out_wherever_the_file_is_cut(form, data, block):
    assert expanded(Members("f", form), data, block) == {(0, None): CONTENT}


@pytest.mark.parametrize("streamed", [False, True])
@settings(deadline=None, max_examples=20)
@given(block=st.integers(1, 5000))
def test_each_zip_entry_is_a_file_of_its_own(streamed, block):
    data = zipped(
        [("d/", b""), ("d/a.csv", CONTENT), ("empty", b""), ("__MACOSX/x", b"x"), ("\xe9", b"z")],
        streamed=streamed,
    )
    assert expanded(ZipEntries("f"), data, block) == {
        (0, "d/a.csv"): CONTENT,
        (1, "empty"): b"",
        (2, "\xe9"): b"z",
    }


def test_stored_zip_entries_are_read():
    data = zipped([("a", CONTENT), ("b", b"")], method=zipfile.ZIP_STORED)
    assert expanded(ZipEntries("f"), data) == {(0, "a"): CONTENT, (1, "b"): b""}


@pytest.mark.parametrize("lost", [1, 7, 100])
@pytest.mark.parametrize(
    ("decompressor", "data"),
    [
        (lambda: Members("f.gz", GZIP), gzip.compress(CONTENT)),
        (lambda: Members("f.zst", ZSTD), zstandard.compress(CONTENT)),
        (lambda: Members("f.bz2", BZIP2), bz2.compress(CONTENT)),
        (lambda: Members("f.xz", XZ), lzma.compress(CONTENT)),
        (lambda: Members("f.lz4", LZ4), lz4.frame.compress(CONTENT)),
        (lambda: Members("f.sz", SNAPPY), snappy(CONTENT)),
        (lambda: ZipEntries("f.zip"), zipped([("a", CONTENT)]).split(b"PK\x01\x02")[0]),
    ],
)
def test_a_truncated_file_says_so(decompressor, data, lost):
    with pytest.raises(DataError, match=r"can't decompress 'f\..*ends early, after \d+ bytes"):
        expanded(decompressor(), data[:-lost])


@pytest.mark.parametrize(
    ("decompressor", "data"),
    [
        (Members("f", GZIP), gzip.compress(CONTENT)[:-6] + b"damage"),
        (Members("f", GZIP), gzip.compress(CONTENT) + b"more"),
        (Members("f", ZSTD), b"not zstd at all"),
        (Members("f", BZIP2), bz2.compress(CONTENT)[:-20] + b"damage" * 4),
        (Members("f", XZ), lzma.compress(CONTENT)[:-6] + b"damage"),
        (Members("f", LZ4), lz4.frame.compress(CONTENT, content_checksum=True)[:-4] + b"oops"),
        (Members("f", SNAPPY), snappy(CONTENT)[:-6] + b"damage"),
        (Members("f", SNAPPY), snappy(CONTENT) + b"\x02\xff\xff\xff"),
        (ZipEntries("f"), zipped([("a", b"12345")], method=0).replace(b"12345", b"12X45", 1)),
        (ZipEntries("f"), zipped([("a", CONTENT)], method=zipfile.ZIP_BZIP2)),
        (ZipEntries("f"), b"not a zip archive"),
    ],
)
def test_damaged_or_unsupported_data_is_named(decompressor, data):
    with pytest.raises(DataError, match="'f'"):
        expanded(decompressor, data)


@pytest.mark.parametrize(
    ("decompressor", "data"),
    [
        (Members("f", GZIP), gzip.compress(bytes(1 << 22))),
        (Members("f", ZSTD), zstandard.compress(bytes(1 << 22))),
        (Members("f", BZIP2), bz2.compress(bytes(1 << 22))),
        (Members("f", XZ), lzma.compress(bytes(1 << 22))),
        (ZipEntries("f"), zipped([("a", bytes(1 << 22))])),
    ],
)
def test_a_bomb_is_refused(decompressor, data, monkeypatch):
    monkeypatch.setattr(compression, "EXPANSION_FREE_BYTES", 1 << 20)
    with pytest.raises(DataError, match="the limit is 250 times"):
        expanded(decompressor, data)
