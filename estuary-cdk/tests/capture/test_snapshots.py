"""Whatever a snapshot emits turns what was there into what is there."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.capture.snapshots import (
    NOTHING,
    Counter,
    changed,
    documents,
    tombstones,
    under_way,
)

rows = st.lists(st.integers(0, 3).map(lambda n: b'{"n":%d}' % n), max_size=6)


def taken(snapshot):
    counter = Counter()
    counter.add(snapshot)
    return counter.taken()


def emitted(before, snapshot):
    after = taken(snapshot)
    if not changed(before, after):
        return []
    return documents(before, snapshot, 0) + list(tombstones(before, after, b"{}"))


def applied(collection, emission):
    result = dict(collection)
    for document in map(msgspec.json.decode, emission):
        number, op = document["_meta"]["row_id"], document["_meta"]["op"]
        if op == "d":
            del result[number]
        else:
            assert (op == "u") == (number in result)
            result[number] = {k: v for k, v in document.items() if k != "_meta"}
    return result


def as_collection(snapshot):
    return {n: msgspec.json.decode(row) for n, row in enumerate(snapshot)}


@given(st.lists(rows, max_size=5))
def test_emitted_documents_lead_from_each_snapshot_to_the_next(history):
    collection, before = {}, NOTHING
    for snapshot in history:
        collection = applied(collection, emitted(before, snapshot))
        before = taken(snapshot)
        assert collection == as_collection(snapshot)


@given(rows)
def test_an_unchanged_snapshot_emits_nothing(snapshot):
    assert emitted(taken(snapshot), snapshot) == []


@given(rows, rows, rows, st.integers(0, 12))
def test_a_snapshot_cut_short_leaves_no_row_behind(first, second, third, emitted_rows):
    collection = applied({}, emitted(NOTHING, first))
    partial = emitted(taken(first), second)[:emitted_rows]
    collection = applied(collection, partial)
    before = under_way(taken(first), taken(second)) if partial else taken(first)
    after = taken(third)
    assert not partial or changed(before, after)
    for document in map(msgspec.json.decode, emitted(before, third)):
        number = document["_meta"]["row_id"]
        if document["_meta"]["op"] == "d":
            collection.pop(number, None)
        else:
            collection[number] = {k: v for k, v in document.items() if k != "_meta"}
    assert collection == as_collection(third)


def test_rows_in_another_order_are_another_snapshot():
    assert taken([b"{}", b'{"a":1}']) != taken([b'{"a":1}', b"{}"])


def test_where_one_row_ends_matters():
    assert taken([b'{"a":1}', b"2:{}"]).digest != taken([b'{"a":1}2:{}']).digest
