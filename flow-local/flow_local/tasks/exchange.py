"""Transactions with a materialization connector that has opened: what is said, in which order.

Whoever makes them says where documents come from and what becomes durable when; see the loops of
`materialization.py` and of previews. A transaction's documents are held until they are stored, and
so are those that come back from loads.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError, shortened
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.flow import ConnectorState
from estuary_cdk.protocol.materialize import (
    Acknowledge,
    Acknowledged,
    Flush,
    Flushed,
    Load,
    Loaded,
    MaterializationSpec,
    StartCommit,
    StartedCommit,
    Store,
)
from estuary_cdk.protocol.message import ABSENT, Message
from flow_local.connectors import ConnectorFailed, Conversation
from flow_local.gathering import Gatherer, Gathering
from flow_local.recovery.patches import patches_of

END_WAIT_S: Final = 10.0

log = get_logger(__name__)


@dataclass(slots=True)
class Prepared:
    """A transaction to be, or one that has begun; documents may be added to either.

    Loads that are due before it begins are held until then.
    """

    gathering: Gathering
    """What it holds."""
    loads: list[tuple[int, bytes]] = field(default_factory=list)


class Exchange:
    """One connector's transactions, from `begin` to `commit` each, over and over.

    `what` is the verb of error messages. While calls are made, `receive` has to run beside them;
    `together` does both. The next transaction may be prepared while one is stored and committed.
    """

    def __init__(
        self,
        talk: Conversation,
        spec: MaterializationSpec,
        *,
        packs_values: bool,
        loads_all: bool,
        what: str,
    ) -> None:
        self._gatherer = Gatherer(spec, packs_values=packs_values, loads_all=loads_all)
        self._begun = Prepared(self._gatherer.begin([b"" for _ in spec.bindings]))
        self._talk = talk
        self._named = f"{what} {spec.name!r}"
        self._answers: dict[type[Message], asyncio.Future[Any]] = {}
        self._ended = False

    def keys_of(self, binding: int, documents: Sequence[bytes]) -> list[tuple[bytes, ...]]:
        """Return the values of each document's key, as JSON."""
        return self._gatherer.keys_of(binding, documents)

    # What the connector says.

    async def receive(self) -> None:
        """Take responses until the connector ends where it may."""
        while runs := await self._talk.receive():
            for kind, messages in runs:
                if kind is Loaded:
                    await self._loaded(messages)
                else:
                    # The session's judge lets each come once per transaction.
                    answer = self._answers[kind]
                    if not answer.cancelled():
                        answer.set_result(messages[0])
        self._ended = True
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self._exited())
                answer.exception()  # Not everyone waits for it.

    def _exited(self) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"can't {self._named}: the connector exited with status 0 in the middle of its work"
        )

    async def _loaded(self, messages: list[Loaded]) -> None:
        by_binding: dict[int, list[bytes]] = {}
        for message in messages:
            by_binding.setdefault(message.binding, []).append(bytes(message.doc))
        for binding, documents in by_binding.items():
            gathering = self._begun.gathering
            if binding >= len(gathering.held):
                raise self._stray(f"a document of binding {binding}")
            if key := await gathering.loaded(binding, documents):
                raise self._stray(f"key {shortened(key.decode())} of binding {binding}")

    def _stray(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"can't {self._named}: the connector loaded {what}, which wasn't asked for or was "
            f"answered before"
        )

    # What we say.

    def prepared(self, max_keys: Sequence[bytes], *, apart: bool = False) -> Prepared:
        """Return a transaction without documents, to begin when those before it are committed.

        `max_keys` are the greatest keys that will have been stored by then, one of each binding.
        What is large is better held `apart`, by another process.
        """
        return Prepared(self._gatherer.begin(max_keys, apart=apart))

    async def begin(self, prepared: Prepared, started: ConnectorState | None) -> None:
        """Begin a transaction, and acknowledge the last with the state that its commit gave."""
        if self._ended:
            raise self._exited()
        loop = asyncio.get_running_loop()
        kinds = (Acknowledged, Flushed, StartedCommit)
        self._answers = {kind: loop.create_future() for kind in kinds}
        self._begun = prepared
        await self._talk.send(Acknowledge(state_patches=_patches(started)))
        loads, prepared.loads = prepared.loads, []
        for count, lines in loads:
            await self._talk.send_block(Load, count, lines)

    @property
    def acknowledged(self) -> "asyncio.Future[Acknowledged]":
        """The connector's answer once it has done all work of the last transaction."""
        return self._answers[Acknowledged]

    async def add(self, prepared: Prepared, binding: int, documents: Sequence[bytes]) -> None:
        """Take documents into a transaction, and load those keys that may be stored."""
        count, lines = await prepared.gathering.add(binding, documents)
        if count and prepared is self._begun:
            await self._talk.send_block(Load, count, lines)
        elif count:
            prepared.loads.append((count, lines))

    async def flush(self, acknowledged: ConnectorState | None) -> ConnectorState | None:
        """End the loads, once all was acknowledged; return the state's update, if there is one."""
        await self._talk.send(Flush(state_patches=_patches(acknowledged)))
        flushed: Flushed = await self._answers[Flushed]
        return flushed.state

    async def store(self) -> None:
        """Send all stores."""
        async for count, lines in self._begun.gathering.stores():
            await self._talk.send_block(Store, count, lines)

    async def commit(
        self, checkpoint: bytes, flushed: ConnectorState | None
    ) -> ConnectorState | None:
        """Have the connector commit; return the state's update, which is to be made durable."""
        request = StartCommit(runtime_checkpoint=Raw(checkpoint), state_patches=_patches(flushed))
        await self._talk.send(request)
        started: StartedCommit = await self._answers[StartedCommit]
        return started.state

    async def rest(self) -> None:
        """Give back what only much work needs, while no transaction has documents."""
        await self._gatherer.rest()

    async def close(self) -> None:
        """Give everything back, however things ended."""
        await self._gatherer.close()

    async def end(self) -> None:
        """Say that nothing more comes; where a transaction was begun, it has no loads."""
        await self._talk.end_requests()


async def together(receiving: Coroutine[Any, Any, None], work: Coroutine[Any, Any, None]) -> None:
    """Do `work` while responses are received; raise the one error that ends both.

    Where `work` is done, the connector has a while to end by itself.
    """
    try:
        async with asyncio.TaskGroup() as group:
            received = group.create_task(receiving)
            await work
            _, late = await asyncio.wait({received}, timeout=END_WAIT_S)
            if late:
                log.warning("the connector doesn't end with its stdin and is killed")
                received.cancel()
    except BaseExceptionGroup as failures:
        told = [error for error in failures.exceptions if isinstance(error, ConnectorFailed)]
        raise (told or failures.exceptions)[0] from None


def _patches(update: ConnectorState | None) -> Raw:
    text = patches_of(update)
    return Raw(text) if text else ABSENT
