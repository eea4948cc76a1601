"""Fixtures: both formats, and the UUIDs that documents get."""

import msgspec
import pytest

from estuary_cdk.errors import ConfigError
from flow_local.preview import fixture


def uuid(text: bytes, transaction: int, place: int) -> str:
    read = fixture(text, "fixture")
    [(_, documents)] = read.documents(transaction, {"acme/a": [0]})
    return msgspec.json.decode(documents[place])["_meta"]["uuid"]


DOCUMENT = b'["acme/a",{"id":1}]\n'
COMMIT = b'{"commit": true}\n'


@pytest.mark.parametrize(
    ("transaction", "place", "expected"),
    [
        (1, 3, "770f6b80-1dda-11b2-8000-071353030311"),
        (3, 9, "3e2bc280-1deb-11b2-8000-071353030311"),
    ],
)
def test_uuids_are_those_of_flowctl(transaction, place, expected):
    lines = COMMIT * transaction + DOCUMENT * (place + 1)
    assert uuid(lines, transaction, place) == expected
    pairs = ",".join(['["acme/a",{"id":1}]'] * (place + 1))
    array = f"[{'[],' * transaction}[{pairs}]]".encode()
    assert uuid(array, transaction, place) == expected


def test_more_documents_than_seconds_of_an_hour_keep_their_times():
    assert uuid(DOCUMENT * 3700 + COMMIT + DOCUMENT, 1, 0) == uuid(COMMIT + DOCUMENT, 1, 0)


def test_documents_of_collections_that_nobody_reads_still_count():
    text = b'["acme/b",{}]\n' * 3 + DOCUMENT
    assert uuid(COMMIT + text, 1, 0) == "770f6b80-1dda-11b2-8000-071353030311"


def test_each_binding_of_a_collection_gets_the_document():
    read = fixture(DOCUMENT, "fixture")
    [(one, documents), (other, same)] = read.documents(0, {"acme/a": [0, 2]})
    assert (one, other) == (0, 2)
    assert documents == same


def test_commits_make_transactions_empty_ones_too():
    read = fixture(COMMIT + DOCUMENT + COMMIT + COMMIT + b"\n" + DOCUMENT, "fixture")
    assert [len(transaction) for transaction in read.transactions] == [0, 1, 0, 1]


def test_an_empty_fixture_is_one_empty_transaction():
    assert fixture(b"", "fixture").transactions == [[]]
    assert fixture(b"[]", "fixture").transactions == [[]]


def test_numbers_keep_their_spelling():
    text = b'["acme/a",{"n":1.0,"big":123456789012345678901234567890}]'
    [(_, [document])] = fixture(text, "fixture").documents(0, {"acme/a": [0]})
    assert b'"n":1.0,"big":123456789012345678901234567890' in document


def test_a_line_that_is_neither_is_named():
    with pytest.raises(ConfigError, match=r"can't read fixture 'x': line 2 is"):
        fixture(DOCUMENT + b'{"commit": false}', "x")
