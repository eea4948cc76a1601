"""Transactions of many tasks share one writer and never mix."""

import asyncio
from contextlib import suppress
from itertools import groupby

import msgspec
import pytest
from counting import State, counting
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import ContractError, DataError
from estuary_cdk.testing.runtime import CaptureRuntime

LARGE = 300 << 10


def session_of(pull, counters: int = 2):
    async def run():
        runtime = CaptureRuntime(counting(pull=pull).serve)
        return await runtime.run(await runtime.build({"counters": counters}))

    return asyncio.run(run())


def document(transaction: int, size: int) -> bytes:
    return b'{"t":%d,"pad":"%s"}' % (transaction, b"x" * size)


plans = st.lists(
    st.lists(
        st.lists(st.sampled_from([1, 100, LARGE]), max_size=8),
        max_size=3,
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30, deadline=None)
@given(plans)
def test_whatever_tasks_emit_at_once_each_checkpoint_commits_one_transaction(plan):
    written: dict[int, int] = {}

    async def task(pull, binding, transactions, first):
        for number, sizes in enumerate(transactions, first):
            written[number] = len(sizes)
            async with pull.transaction() as transaction:
                for size in sizes:
                    await transaction.emit(binding, [document(number, size)])
                    await asyncio.sleep(0)
                transaction.checkpoint(binding, State(next=number))

    async def pull(pull):
        async with asyncio.TaskGroup() as tasks:
            for binding, transactions in zip(pull.bindings, plan, strict=True):
                tasks.create_task(task(pull, binding, transactions, 100 * binding.index))

    session = session_of(pull, counters=len(plan))
    documents = iter(session.documents)
    seen = {}
    for size in session.sizes:
        block = [msgspec.json.decode(next(documents)[1])["t"] for _ in range(size)]
        assert len(set(block)) <= 1
        for number, run in groupby(block):
            seen[number] = len(list(run))
    assert seen == {number: size for number, size in written.items() if size}
    assert session.checkpoints == len(written)


def test_what_a_transaction_gathered_is_discarded_when_it_fails():
    async def pull(pull):
        binding = pull.bindings[0]
        with suppress(ValueError):
            async with pull.transaction() as transaction:
                await transaction.emit(binding, [b'{"n":1}'])
                transaction.checkpoint(binding, State(next=1))
                raise ValueError("upstream")
        async with pull.transaction() as transaction:
            await transaction.emit(binding, [b'{"n":2}'])
            transaction.checkpoint(binding, State(next=2))

    session = session_of(pull)
    assert session.of(0) == [{"n": 2}]


def test_after_a_half_written_transaction_nothing_is_committed_any_more():
    async def pull(pull):
        binding = pull.bindings[0]
        with suppress(ValueError):
            async with pull.transaction() as transaction:
                await transaction.emit(binding, [document(1, 2 << 20)])
                raise ValueError("upstream")
        async with pull.transaction() as transaction:
            transaction.checkpoint(binding, State(next=2))

    with pytest.raises(ExceptionGroup) as raised:
        session_of(pull)
    assert raised.group_contains(ContractError, match="earlier transaction failed")


def test_documents_without_a_checkpoint_are_the_authors_mistake():
    async def pull(pull):
        async with pull.transaction() as transaction:
            await transaction.emit(pull.bindings[0], [b'{"n":1}'])

    with pytest.raises(ExceptionGroup) as raised:
        session_of(pull)
    assert raised.group_contains(ContractError, match="without a checkpoint")


def test_a_transaction_inside_another_is_refused_before_it_waits_for_itself():
    async def pull(pull):
        async with pull.transaction() as outer:
            await outer.emit(pull.bindings[0], [document(1, 2 << 20)])
            async with pull.transaction() as inner:
                inner.checkpoint()

    with pytest.raises(ExceptionGroup) as raised:
        session_of(pull)
    assert raised.group_contains(ContractError, match="two transactions open")


def test_an_oversized_document_names_its_binding():
    async def pull(pull):
        async with pull.transaction() as transaction:
            await transaction.emit(pull.bindings[0], [document(1, 1), document(2, 17 << 20)])

    with pytest.raises(ExceptionGroup) as raised:
        session_of(pull)
    assert raised.group_contains(DataError, match="can't capture a document of 'counter0'")


def test_numbers_keep_their_spelling():
    spelled = b'{"a":1.0,"b":1e3,"c":123456789012345678901234567890,"d":18446744073709551616}'

    async def pull(pull):
        async with pull.transaction() as transaction:
            await transaction.emit(pull.bindings[1], [spelled])
            await transaction.sourced_schema(pull.bindings[1], b'{"maximum":1.0}')
            transaction.checkpoint()

    session = session_of(pull)
    assert session.documents == [(1, spelled)]
    assert session.schemas == [(1, b'{"maximum":1.0}')]
