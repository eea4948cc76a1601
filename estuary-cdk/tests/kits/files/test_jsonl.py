"""JSON lines are verified one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import jsonl
from estuary_cdk.kits.files.jsonl import JsonLines


def parse(*blocks):
    parser = JsonLines("f.jsonl", "utf-8")
    return [r for block in blocks for r in parser.feed(block)] + parser.finish()


def test_lines_come_out_whole_and_empty_ones_not_at_all():
    assert parse(b'{"a"', b":1}\r", b'\n\n {"b":2}\t\n', b"{}") == [b'"a":1}', b'"b":2}', b"}"]


@pytest.mark.parametrize(
    "line", [b'{"a":1}{"b":2}', b'{"a":[{}', b"[1]", b"1", b'{"a":1},', b'{"a":"\t"}', b"{'a':1}"]
)
def test_a_line_that_is_not_one_object_is_named(line):
    with pytest.raises(DataError, match=r"'f\.jsonl' line 3, column 1: "):
        parse(b'{"a":1}\n\n' + line + b'\n{"a":1}\n')


def test_an_endless_line_is_refused(monkeypatch):
    monkeypatch.setattr(jsonl, "LINE_BYTES_MAX", 100)
    with pytest.raises(DataError, match="line 2, column 1: the line is longer than 100 bytes"):
        parse(b'{}\n{"a":"', b"x" * 101)


PIECES = [
    '{"a":1}',
    '{"a":[{}',
    '{"a":"}',
    "{}",
    "\n",
    "\r\n",
    " ",
    ",",
    '"',
    '{"b":',
    "}",
    '{"c":"\\n{"}',
]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_lines_verified_together_are_those_verified_one_by_one(pieces):
    content = "".join(pieces).encode()
    try:
        together = parse(content)
    except DataError:
        together = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsonl, "compact_records", lambda _: None)
        try:
            assert together == parse(content)
        except DataError:
            assert together is None


def test_lines_without_blanks_are_verified_together():
    assert jsonl.compact_records([b'{"a":1}\r', b'{"b":2}']) == [b'"a":1}', b'"b":2}']
    assert jsonl.compact_records([b'{"a":1}', b"{}"]) is None
