import msgspec

from flow_local.collections import Combiner
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
