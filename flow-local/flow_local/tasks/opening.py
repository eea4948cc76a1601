"""Opening a materialization's connector, and where its transactions go on from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from msgspec import Raw

from estuary_cdk.protocol.flow import RangeSpec
from estuary_cdk.protocol.materialize import MaterializationSpec, Open, Opened
from estuary_cdk.protocol.message import present
from flow_local.connectors import MATERIALIZE, Connector, Conversation, conversation
from flow_local.gathering import ALL_KEYS
from flow_local.recovery.patches import EMPTY
from flow_local.tasks.exchange import Exchange
from flow_local.tasks.sources import Checkpoint


@dataclass(frozen=True, slots=True)
class Opening:
    """What is opened: a built spec, of which range of keys, with which state of the connector."""

    spec: MaterializationSpec
    version: str
    range: RangeSpec
    state: bytes
    packs_values: bool = False


@asynccontextmanager
async def opened(
    connector: Connector, opening: Opening, what: str
) -> AsyncIterator[tuple[Exchange, Opened]]:
    """Start a connector and open it; its process is ended with the block."""
    async with conversation(connector, MATERIALIZE, what) as talk:
        answer = await _asked(talk, opening)
        exchange = Exchange(
            talk,
            opening.spec,
            packs_values=opening.packs_values,
            loads_all=answer.disable_load_optimization,
            what=what,
        )
        try:
            yield exchange, answer
        finally:
            await exchange.close()


async def _asked(talk: Conversation, opening: Opening) -> Opened:
    request = Open(
        materialization=opening.spec,
        version=opening.version,
        range=opening.range,
        # A state that was taken back is an empty one.
        state=Raw(EMPTY if opening.state in {b"", b"null"} else opening.state),
    )
    await talk.send(request)
    answer = await talk.expect(Opened)
    assert isinstance(answer, Opened)
    return answer


def resumed(answer: Opened, checkpoint: bytes, max_keys: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Return the checkpoint and the greatest keys to go on from: ours, unless theirs is another."""
    if not present(answer.runtime_checkpoint):
        return checkpoint, max_keys
    theirs = bytes(answer.runtime_checkpoint)
    if Checkpoint(theirs).offsets != Checkpoint(checkpoint).offsets:
        # What they hold isn't what our keys tell of.
        max_keys = [ALL_KEYS for _ in max_keys]
    return theirs, max_keys
