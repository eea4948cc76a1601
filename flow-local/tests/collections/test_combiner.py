import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_local.collections import Batch, Combiner
from flow_local.schema.reductions import Reducer

SUM = Reducer(
    b'{"type":"object","reduce":{"strategy":"merge"},'
    b'"properties":{"n":{"type":"integer","reduce":{"strategy":"sum"}}}}'
)
LAST = Reducer(b'{"type":"object"}')
APART = Reducer(b'{"type":"object","reduce":{"strategy":"lastWriteWins","associative":false}}')


def test_documents_of_one_key_become_one():
    documents = [b'{"id":1,"n":1}', b'{"id":2,"n":5}', b'{"id":1,"n":2}']
    combined = Combiner(["/id"], SUM).combined(documents)
    assert [msgspec.json.decode(each) for each in combined] == [
        {"id": 1, "n": 3},
        {"id": 2, "n": 5},
    ]
    assert Combiner(["/id"], LAST).combined(documents) == [documents[2], documents[1]]


def test_what_cannot_be_combined_stays_apart_in_order():
    documents = [b'{"id":1,"n":1}', b'{"id":2}', b'{"id":1,"n":2}']
    combined = Combiner(["/id"], APART).combined(documents)
    assert [each for each in combined if b'"id":1' in each] == [documents[0], documents[2]]


def test_different_keys_leave_the_batch_as_it_is():
    documents = [b'{"id":1}', b'{"id":2}']
    assert Combiner(["/id"], SUM).combined(documents) is documents


def test_spelling_does_not_make_a_key():
    documents = [b'{"id":"a"}', b'{"id":"\\u0061","x":1}', b'{"id":"a","y":1}']
    combined = Combiner(["/id"], LAST).combined(documents)
    assert combined == [documents[2]]


def batch(numbers, parts=None, opening=b"{", closing=b"}"):
    middles = [b'"id":%d,"n":%d' % (number, at) for at, number in enumerate(numbers)]
    return Batch(middles, 10, opening, closing, parts)


@pytest.mark.parametrize("parts", [[1, 2], None])
def test_batches_of_different_keys_stay_as_they_are(parts):
    batches = [batch([1, 2], parts), batch([3, 4], [3, 4])]
    assert Combiner(["/id"], SUM).combined_batches(batches) is batches


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), max_size=4), st.data())
def test_batches_are_combined_as_their_documents_are(numbers, data):
    batches = [
        batch(each, data.draw(st.sampled_from([None, each, [0] * len(each)]))) for each in numbers
    ]
    documents = [document for each in batches for document in each.documents()]
    found = Combiner(["/id"], SUM).combined_batches(batches)
    assert [document for each in found for document in each.documents()] == list(
        Combiner(["/id"], SUM).combined(documents)
    )


@given(st.lists(st.integers(0, 9)), st.integers(1, 100))
def test_a_batch_is_cut_into_its_documents(numbers, size):
    whole = batch(numbers)
    parts = list(whole.cut(size))
    assert [d for part in parts for d in part.documents()] == list(whole.documents())
    assert all(part.opening == b"{" and part.closing == b"}" for part in parts)
