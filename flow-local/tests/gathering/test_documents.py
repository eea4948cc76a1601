"""Documents of a transaction that replace each other, held against a dictionary."""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from estuary_cdk.protocol.codec import MATERIALIZE_REQUESTS, Codec
from estuary_cdk.protocol.flow import CollectionSpec, Projection
from estuary_cdk.protocol.materialize import FieldSelection, MaterializationBinding
from flow_local.collections import identity
from flow_local.gathering.documents import Fields, Gathered, fields_of

SCHEMA = b"""{"type": "object",
 "if": {"required": ["op"], "properties": {"op": {"const": "d"}}},
 "then": {"reduce": {"strategy": "lastWriteWins", "delete": true}},
 "else": {"reduce": {"strategy": "lastWriteWins"}}}"""
LONG = 10**24


@dataclass(frozen=True)
class Document:
    key: int
    n: int
    deletes: bool = False

    @property
    def text(self) -> bytes:
        return b'{"id":%d,"n":%d,"op":"%b"}' % (self.key, self.n, b"d" if self.deletes else b"c")


def fields(*, delta: bool = False) -> Fields:
    projections = [
        Projection(ptr="/id", field="id", is_primary_key=True),
        Projection(ptr="/n", field="n"),
        Projection(ptr="", field="flow_document"),
    ]
    binding = MaterializationBinding(
        collection=CollectionSpec(
            name="acme/events", write_schema=Raw(SCHEMA), key=["/id"], projections=projections
        ),
        field_selection=FieldSelection(keys=["id"], values=["n"], document="flow_document"),
        delta_updates=delta,
    )
    return fields_of(3, binding)


def key_of(number: int) -> bytes:
    return identity((b"%d" % number,))


def stores(gathered: Gathered) -> list[tuple[bytes, bytes, bytes, bool, bool]]:
    """Return key, values, document and marks of each store, in their order."""
    counted = list(gathered.stores())
    said = []
    for _, messages in Codec(MATERIALIZE_REQUESTS).decode_runs(b"".join(b for _, b in counted)):
        said += messages
    assert sum(count for count, _ in counted) == len(said)
    assert all(store.binding == 3 for store in said)
    return [(bytes(s.key), bytes(s.values), bytes(s.doc), s.exists, s.delete) for s in said]


keys = st.integers(0, 12) | st.integers(LONG, LONG + 3)
documents = st.builds(Document, keys, st.integers(0, 9), st.booleans())
rising = st.builds(
    lambda start, count, n: [Document(start + place, n) for place in range(count)],
    st.integers(0, 30),
    st.integers(1, 6),
    st.integers(0, 9),
)
batches = st.lists(rising | st.lists(documents, min_size=1, max_size=4), max_size=6)


@given(batches, st.integers(-1, 20), st.sets(keys), st.booleans())
def test_stores_are_each_keys_newest_document_in_the_order_of_keys(
    added: list[list[Document]], stored_max: int, stored: set[int], delta: bool
) -> None:
    max_key = b"" if stored_max < 0 else key_of(stored_max)
    gathered = Gathered(fields(delta=delta), max_key)
    asked: list[int] = []
    for batch in added:
        count, lines = gathered.add([each.text for each in batch])
        loads = [msgspec.json.decode(line)["load"]["key"][0] for line in lines.splitlines()]
        assert count == len(loads)
        asked += loads
    every = [each for batch in added for each in batch]
    newest = {each.key: each for each in every}

    loaded = [] if delta else sorted(key for key in newest if key <= stored_max)
    assert sorted(asked) == loaded
    there = {key for key in loaded if key in stored}
    assert gathered.loaded([Document(key, 77).text for key in there]) == b""
    assert gathered.documents == len(every)
    if not delta:
        assert gathered.max_key == max([max_key, *map(key_of, newest)])
    assert stores(gathered) == [
        (
            b"[%d]" % key,
            b"[%d]" % newest[key].n,
            newest[key].text,
            key in there,
            newest[key].deletes,
        )
        for key in sorted(newest, key=key_of)
    ]


@pytest.mark.parametrize("second", [[6, 7], [5, 6], [7, 6], [1]])
def test_keys_may_stop_to_ascend_at_any_time(second: list[int]) -> None:
    gathered = Gathered(fields(), b"")
    gathered.add([Document(key, 1).text for key in (4, 5)])
    gathered.add([Document(key, 2).text for key in second])
    gathered.add([Document(9, 3).text])

    expected = {4: 1, 5: 1, **dict.fromkeys(second, 2), 9: 3}
    found = [(key, values) for key, values, *_ in stores(gathered)]
    assert found == [(b"[%d]" % key, b"[%d]" % n) for key, n in sorted(expected.items())]


def test_nothing_of_ascending_keys_is_held_by_key() -> None:
    gathered = Gathered(fields(), b"")
    for start in range(0, 2000, 500):
        gathered.add([Document(key, 1).text for key in range(start, start + 500)])
    blocks = list(gathered.stores())
    assert [count for count, _ in blocks] == [256, 244] * 4
    assert b"".join(block for _, block in blocks).count(b"\n") == 2000
