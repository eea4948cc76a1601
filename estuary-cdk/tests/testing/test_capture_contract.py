"""The contract holds for both example captures, and catches those that break it."""

import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from estuary_cdk import logs
from estuary_cdk.errors import ConfigError
from estuary_cdk.testing import capture_contract as contract
from estuary_cdk.testing.capture_contract import PROMISES, CaptureSubject
from estuary_cdk.testing.clock import FakeClock

sys.path.insert(0, str(Path(__file__).parents[1] / "capture"))

from counting import State, counting
from example_source import OPENED, Shop, shop_source

DAY = timedelta(days=1)


def shop_subject(source=None) -> CaptureSubject:
    shop = Shop(
        orders={OPENED + n * DAY: n for n in range(20)},
        users=["ada", "bob"],
        changes=list("abc"),
        archive=[[1], [2]],
    )
    clock = FakeClock()
    source = source(shop) if source else shop_source(shop)
    return CaptureSubject(
        serve=lambda reader, writer: source.serve(reader, writer, clock=clock),
        config={"token": "sesame"},
        refused={"token": "guessed-token"},
        secrets=["sesame", "guessed-token"],
        lasting=lambda: clock.sleep(1200),
    )


def counting_subject(**changes) -> CaptureSubject:
    return CaptureSubject(
        serve=counting(**changes).serve,
        config={"token": "right-token"},
        refused={"token": "wrong"},
        secrets=["right-token"],
    )


@pytest.mark.parametrize("subject", [shop_subject, counting_subject])
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_the_examples_keep(promise, subject):
    await promise(subject())


async def test_a_capture_that_checkpoints_ahead_of_its_documents_is_caught():
    async def pull(pull):
        for binding in pull.bindings:
            start = binding.state.next if binding.state else 0
            for n in range(start, 5):
                async with pull.transaction() as transaction:
                    transaction.checkpoint(binding, State(next=n + 1))
                async with pull.transaction() as transaction:
                    await transaction.emit(binding, [b'{"n":%d}' % n])
                    transaction.checkpoint()

    with pytest.raises(AssertionError):
        await contract.killed_at_any_checkpoint_it_resumes_to_the_same_collections(
            counting_subject(pull=pull)
        )


async def test_a_document_without_its_key_is_caught():
    async def users(_client) -> AsyncIterator[dict]:
        yield {"_meta": {"op": "u", "row_id": None}}

    def source(shop):
        whole = shop_source(shop, "users")
        return replace(whole, streams=[replace(whole.streams[0], read=users)])

    with pytest.raises(AssertionError):
        await contract.documents_fit_their_schema_and_carry_their_key(shop_subject(source))


async def test_a_secret_in_a_log_is_caught():
    async def validate(validation):
        token = validation.config.token.get_secret_value()
        logs.get_logger(__name__).debug("checking", token=token)
        if token == "wrong":
            raise ConfigError("can't open the counter: refused")

    with pytest.raises(AssertionError, match="a secret shows"):
        await contract.secrets_stay_secret(counting_subject(validate=validate))


async def test_a_print_is_caught():
    async def apply(_application):
        return ""

    async def pull(pull):
        print("hello")

    with pytest.raises(AssertionError):
        await contract.nothing_but_the_protocol_is_printed(counting_subject(pull=pull, apply=apply))


async def test_a_discovery_that_changes_is_caught():
    from counting import discover

    calls = []

    async def changing(config):
        calls.append(config)
        found = await discover(config)
        return found if len(calls) % 2 else found[::-1]

    with pytest.raises(AssertionError):
        await contract.discovery_is_deterministic_and_valid(counting_subject(discover=changing))
