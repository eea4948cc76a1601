"""Transactions gathered in a process apart, held against the same gathered here."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from estuary_cdk.errors import DataError, TransientError
from estuary_cdk.protocol.flow import CollectionSpec, Projection
from estuary_cdk.protocol.materialize import (
    FieldSelection,
    MaterializationBinding,
    MaterializationSpec,
)
from estuary_cdk.testing.patience import HANGS_S
from flow_local.gathering import Gatherer

REPLACES = b'{"type":"object","reduce":{"strategy":"lastWriteWins"}}'
SUMS = (
    b'{"type":"object","reduce":{"strategy":"merge"},'
    b'"properties":{"n":{"type":"number","reduce":{"strategy":"sum"}}}}'
)


def binding(name: str, schema: bytes, *, delta: bool = False) -> MaterializationBinding:
    projections = [
        Projection(ptr="/id", field="id", is_primary_key=True),
        Projection(ptr="/n", field="n"),
        Projection(ptr="", field="flow_document"),
    ]
    return MaterializationBinding(
        collection=CollectionSpec(
            name=name, write_schema=Raw(schema), key=["/id"], projections=projections
        ),
        field_selection=FieldSelection(keys=["id"], values=["n"], document="flow_document"),
        delta_updates=delta,
        state_key=name,
    )


SPEC = MaterializationSpec(
    name="acme/destination",
    bindings=[
        binding("acme/newest", REPLACES),
        binding("acme/sums", SUMS),
        binding("acme/every", SUMS, delta=True),
    ],
)
NO_KEYS = [b"", b"", b""]
LEAST = [b"\x15\x05", b"\x15\x05", b""]


def gatherer(spec: MaterializationSpec = SPEC, *, packs_values: bool = False) -> Gatherer:
    return Gatherer(spec, packs_values=packs_values, loads_all=False)


def document(key: int, n: int) -> bytes:
    return b'{"id":%d,"n":%d}' % (key, n)


documents = st.lists(st.builds(document, st.integers(0, 9), st.integers(0, 99)), min_size=1)
additions = st.lists(st.tuples(st.integers(0, 2), documents), max_size=5)


async def made(gathering, added, stored) -> list[object]:
    """Return everything a transaction says of what it is given."""
    said: list[object] = []
    asked: list[set[bytes]] = [set(), set(), set()]
    for index, some in added:
        count, lines = await gathering.add(index, some)
        said += [count, lines]
        for line in lines.splitlines():
            asked[index].add(bytes(msgspec.json.decode(line, type=dict[str, Raw])["load"]))
    for index, keys in enumerate(asked):
        known = [msgspec.json.decode(each)["key"][0] for each in sorted(keys)]
        loaded = [document(key, 1000) for key in known if key in stored]
        if loaded:
            said.append(await gathering.loaded(index, loaded))
    said += [(held.documents, held.size, held.max_key) for held in gathering.held]
    said += [block async for block in gathering.stores()]
    return said


@settings(max_examples=30)
@given(
    one=additions, other=additions, stored=st.sets(st.integers(0, 9)), packs_values=st.booleans()
)
async def test_a_process_apart_says_what_this_one_would(
    one_apart, one, other, stored, packs_values
):
    there = one_apart[packs_values]
    here = gatherer(packs_values=packs_values)
    for added in (one, other):
        expected = await made(here.begin(LEAST), added, stored)
        assert await made(there.begin(LEAST, apart=True), added, stored) == expected


@pytest.fixture(scope="module")
def one_apart():
    """Two gatherers for all examples, each with a process, by whether values are packed."""
    made = {packs_values: gatherer(packs_values=packs_values) for packs_values in (False, True)}
    yield made
    for each in made.values():
        asyncio.run(each.close())


@pytest.fixture
async def apart():
    made = gatherer()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def children():
    """The processes that the test has started and that run."""
    before = psutil.Process().children()
    return lambda: [each for each in psutil.Process().children() if each not in before]


async def test_a_transaction_is_filled_while_the_one_before_is_stored(apart):
    first, second = (apart.begin(NO_KEYS, apart=True) for _ in range(2))
    await first.add(0, [document(key, 1) for key in range(10_000)])
    stores = first.stores()
    count, _ = await anext(stores)
    await second.add(0, [document(1, 2)])
    assert count + sum([count async for count, _ in stores]) == 10_000
    assert [count async for count, _ in second.stores()] == [1]


async def test_a_transaction_without_documents_needs_no_process(apart, children):
    empty = apart.begin(NO_KEYS, apart=True)
    assert [block async for block in empty.stores()] == []
    assert [held.documents for held in empty.held] == [0, 0, 0]
    assert children() == []


async def test_a_document_that_cant_be_read_is_refused_as_it_is_here(apart):
    bad = [b'{"id":1', document(2, 2)]
    with pytest.raises(DataError) as here:
        await apart.begin(NO_KEYS).add(0, bad)
    with pytest.raises(DataError) as there:
        await apart.begin(NO_KEYS, apart=True).add(0, bad)
    assert str(there.value) == str(here.value)


async def test_a_process_that_is_killed_is_told_of_and_may_be_started_anew(apart, children):
    transaction = apart.begin(NO_KEYS, apart=True)
    await transaction.add(0, [document(1, 1)])
    [child] = children()
    child.kill()
    with pytest.raises(TransientError, match=r"gather documents for 'acme/destination'.* signal 9"):
        await transaction.add(0, [document(2, 1)])
    await apart.rest()
    again = apart.begin(NO_KEYS, apart=True)
    await again.add(0, [document(3, 1)])
    assert [count async for count, _ in again.stores()] == [1]


async def test_nothing_is_left_of_a_process_after_rest(apart, children):
    transaction = apart.begin(NO_KEYS, apart=True)
    await transaction.add(0, [document(1, 1)])
    assert len(children()) == 1
    await apart.rest()
    assert children() == []


async def test_whoever_gives_up_waiting_for_an_answer_can_close(apart, children):
    transaction = apart.begin(NO_KEYS, apart=True)
    adding = asyncio.ensure_future(transaction.add(0, [document(1, 1)] * 100_000))
    await asyncio.sleep(0)
    adding.cancel()
    await asyncio.wait({adding})
    await apart.close()
    assert children() == []


def test_a_process_ends_with_who_started_it():
    code = f"""
import asyncio, sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_apart import NO_KEYS, document, gatherer
import psutil

async def main():
    transaction = gatherer().begin(NO_KEYS, apart=True)
    await transaction.add(0, [document(1, 1)])
    [child] = psutil.Process().children()
    print(child.pid, flush=True)
    time.sleep(1000)

asyncio.run(main())
"""
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    with started:
        child = psutil.Process(int(started.stdout.readline()))
        started.send_signal(signal.SIGKILL)
    child.wait(HANGS_S)
