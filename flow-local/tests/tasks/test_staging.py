import random

import pytest
from msgspec import Raw

from estuary_cdk import failpoints
from estuary_cdk.errors import ContractError
from estuary_cdk.protocol.codec import captured_block
from estuary_cdk.protocol.flow import ConnectorState
from flow_local.collections import StorageError
from flow_local.connectors import CapturedBatch
from flow_local.schema.proving import prover
from flow_local.tasks.blocks import Blocks

STATE = ConnectorState(updated=Raw(b'{"a":1}'), merge_patch=True)


def documents(first, last):
    return [b'{"id":%d}' % number for number in range(first, last)]


async def test_a_group_larger_than_memory_is_invisible_until_its_checkpoint(stage):
    async with stage.world() as world:
        staging = stage.staging_of(world, "acme/a", b"{}", 100)
        for part in range(5):
            staging.add(0, documents(part * 20, part * 20 + 20))
            assert staging.full
            await staging.spill()
            assert not staging.full
        assert world.collections.end("acme/a") == 0
        staging.add(0, documents(100, 103))
        staging.checkpoint(STATE)
        assert await staging.commit() == 1
        staging.give_up()
    assert [each["id"] for each in await stage.documents("acme/a")] == list(range(103))
    assert await stage.state("task of acme/a") == {"a": 1}


async def test_a_group_that_is_given_up_leaves_nothing_for_others(stage):
    async with stage.world() as world:
        first = stage.staging_of(world, "acme/a", b"{}", 100)
        first.add(0, documents(0, 50))
        await first.spill()
        first.give_up()
        second = stage.staging_of(world, "acme/a", b"{}", 100)
        second.add(0, documents(50, 52))
        second.checkpoint(STATE)
        await second.commit()
        second.give_up()
    assert [each["id"] for each in await stage.documents("acme/a")] == [50, 51]


async def test_what_is_eligible_is_committed_without_the_group_after_it(stage):
    async with stage.world() as world:
        staging = stage.staging_of(world, "acme/a", b"{}", 100)
        staging.add(0, documents(0, 2))
        staging.checkpoint(STATE)
        staging.add(0, documents(2, 4))
        await staging.commit()
        staging.give_up()
    assert [each["id"] for each in await stage.documents("acme/a")] == [0, 1]


async def test_what_is_inferred_is_committed_with_the_documents_it_is_inferred_from(stage):
    async with stage.world() as world:
        staging = stage.staging_of(world, "acme/a", b"{}", 100)
        staging.add(0, documents(0, 2))
        staging.add_schema(0, b'{"type":"object","additionalProperties":false,"properties":{}}')
        assert world.recovery.schemas == {}
        staging.checkpoint(STATE)
        await staging.commit()
        staging.give_up()
        inferred = world.recovery.schemas
        assert b'"id":{"type":"integer"' in inferred["acme/a"]
        assert b'"uuid"' in inferred["acme/a"]
    await stage.publish({"id": 1, "name": "x"}, name="acme/a", schema=b"{}")
    async with stage.world() as world:
        widened = world.recovery.schemas["acme/a"]
        assert b'"name":{"type":"string"' in widened
        assert b'"id":{"type":"integer"' in widened


async def test_an_open_sourced_schema_is_the_connectors_mistake(stage):
    async with stage.world() as world:
        staging = stage.staging_of(world, "acme/a", b"{}", 100)
        with pytest.raises(ContractError, match="it is open at"):
            staging.add_schema(0, b'{"type":"object"}')
        staging.give_up()


async def test_what_was_inferred_by_an_attempt_that_failed_is_recorded_later(stage):
    async with stage.world() as world:
        first = stage.staging_of(world, "acme/a", b"{}", 100)
        first.add(0, documents(0, 50))
        await first.spill()
        first.give_up()
        second = stage.staging_of(world, "acme/a", b"{}", 100)
        second.add(0, documents(0, 1))
        second.checkpoint(STATE)
        await second.commit()
        second.give_up()
        assert "acme/a" in world.recovery.schemas


async def test_after_a_commit_of_doubtful_outcome_nothing_is_cut_off(stage):
    async with stage.world() as world:
        first = stage.staging_of(world, "acme/a", b"{}", 100)
        first.add(0, documents(0, 3))
        first.checkpoint(STATE)
        failpoints.arm("recovery.after_commit=error")
        with pytest.raises(failpoints.FailpointError):
            await first.commit()
        first.give_up()
        second = stage.staging_of(world, "acme/a", b"{}", 100)
        second.add(0, documents(3, 4))
        second.checkpoint(STATE)
        with pytest.raises(StorageError, match="a commit to it failed half-way"):
            await second.commit()
        second.give_up()
    assert [each["id"] for each in await stage.documents("acme/a")] == [0, 1, 2]


SUMS = (
    b'{"type":"object","reduce":{"strategy":"merge"},"properties":{'
    b'"id":{"type":["number","string","null"]},'
    b'"n":{"type":"integer","reduce":{"strategy":"sum"}}}}'
)
KEYS = [
    b"1",
    b"1.0",
    b"1e0",
    b'"1"',
    b'"\\u0031"',
    b"null",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
    b"7",
    b"",
]


def keyed(chance):
    key = chance.choice(KEYS)
    return b'{"_meta":{"op":"c"},%b"n":1}' % (b'"id":%b,' % key if key else b"")


@pytest.mark.parametrize("seed", range(25))
async def test_batches_become_what_their_documents_would(stage, seed):
    chance = random.Random(seed)
    blocks = Blocks([prover(SUMS, ["/id"])])
    async with stage.world() as world:
        one = stage.staging_of(world, "acme/a", SUMS, 300)
        many = stage.staging_of(world, "acme/b", SUMS, 300)
        for _ in range(12):
            documents = [keyed(chance) for _ in range(chance.randrange(1, 4))]
            one.add(0, documents)
            [(kind, [message])] = blocks.runs(captured_block(0, documents))
            assert kind is CapturedBatch
            many.add_batch(0, message.documents)
            assert one.full == many.full
            checkpoint, commit = chance.random() < 0.3, chance.random() < 0.5
            for each in (one, many):
                if checkpoint:
                    each.checkpoint(STATE)
                if (checkpoint and commit) or each.spilled:
                    await each.commit()
                elif each.full and not each.checkpoints:
                    await each.spill()
        for each in (one, many):
            each.checkpoint(None)
            await each.commit()
            each.give_up()
    expected, found = [await stage.documents(name) for name in ("acme/a", "acme/b")]
    for each in (*expected, *found):
        del each["_meta"]["uuid"]
    assert found == expected
