"""The transactions of an open materialization: the protocol's loop around a transactor's calls.

The transactor lives in a thread of its own. This side reads and decodes blocks of messages, hands
them over as batches and goes on reading while the thread works; more than `BATCHES_MAX` batches
ahead, it stops reading, so that a slow destination slows the runtime down through the pipe.

Keys may arrive while the last transaction is being acknowledged: they queue up behind it and are
looked up only after `flush`, when nothing of it is left to do.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from msgspec import Raw

from estuary_cdk.clock import Clock
from estuary_cdk.errors import ContractError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.logs import get_logger
from estuary_cdk.materialize.batches import keys_of, stores_of
from estuary_cdk.materialize.bindings import Binding
from estuary_cdk.materialize.commits import Commits
from estuary_cdk.materialize.conversation import Conversation
from estuary_cdk.materialize.patterns import Keys, Loaded, Loads, Stores
from estuary_cdk.materialize.schedule import Pace
from estuary_cdk.protocol import materialize as messages
from estuary_cdk.protocol.codec import loaded_block
from estuary_cdk.protocol.flow import ConnectorState
from estuary_cdk.protocol.message import ABSENT, present
from estuary_cdk.transport import Thread

log = get_logger(__name__)

BATCHES_MAX: Final = 2
LOADED_BLOCK_BYTES: Final = 1 << 18

ResultT = TypeVar("ResultT")


class Holding:
    """Holds acknowledgements back as a schedule has it, but never once the runtime has gone."""

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self.pace = pace
        self._clock = clock
        self._over = asyncio.Event()

    def end(self) -> None:
        """Hold nothing back from here on."""
        self._over.set()

    async def wait(self) -> None:
        """Return when the last transaction may be acknowledged."""
        seconds = self.pace.wait_s(self._clock.now())
        if seconds <= 0:
            return
        log.info("the next transaction waits for the schedule", seconds=round(seconds))
        waits = {
            asyncio.ensure_future(self._clock.sleep(seconds)),
            asyncio.ensure_future(self._over.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()


class Transactions:
    """Runs the transactions of one session, from Opened to the end of the requests."""

    def __init__(
        self,
        conversation: Conversation,
        thread: Thread,
        bindings: list[Binding[Any]],
        transactor: Loads,
        commits: Commits,
        holding: Holding,
    ) -> None:
        self._holding = holding
        self._conversation = conversation
        self._thread = thread
        self._bindings = bindings
        self._transactor = transactor
        self._commits = commits
        self._under_way: deque[asyncio.Future[None]] = deque()
        self._acknowledging: asyncio.Task[None] | None = None
        self._staged = 0
        self._stored = 0

    async def run(self) -> None:
        """Answer until the runtime closes its side where it may; anything else raises."""
        async with asyncio.TaskGroup() as group:
            while (run := await self._conversation.run()) is not None:
                await self._take(group, *run)
            self._holding.end()
            await self._acknowledged()

    async def _take(self, group: asyncio.TaskGroup, kind: type, run: list[Any]) -> None:
        if kind is messages.Store:
            await self._store(group, run)
        elif kind is messages.Load:
            await self._stage(group, run)
        else:
            # A run of two of these is illegal already.
            [message] = run
            match message:
                case messages.Acknowledge():
                    patches = bytes(message.state_patches)
                    failpoint("materialize.acknowledge")
                    # Queued here and now, so that no key of the next transaction overtakes it.
                    update = self._submitted(lambda: self._commits.acknowledge(patches))
                    self._acknowledging = group.create_task(self._acknowledge(update))
                case messages.Flush():
                    await self._flush()
                case messages.StartCommit():
                    await self._commit(bytes(message.runtime_checkpoint))

    async def _acknowledge(self, update: asyncio.Future[ConnectorState | None]) -> None:
        state = await update
        failpoint("materialize.acknowledged")
        await self._holding.wait()
        await self._conversation.send(messages.Acknowledged(state=state))

    async def _acknowledged(self) -> None:
        if self._acknowledging is not None:
            await self._acknowledging
            self._acknowledging = None

    async def _stage(self, group: asyncio.TaskGroup, run: list[Any]) -> None:
        batches = list(keys_of(run, self._bindings))
        self._staged += len(run)
        await self._hand_over(group, lambda: _each(self._transactor.stage, batches))

    async def _store(self, group: asyncio.TaskGroup, run: list[Any]) -> None:
        failpoint("materialize.store")
        batches = list(stores_of(run, self._bindings))
        self._stored += len(run)
        await self._hand_over(group, lambda: _each(self._transactor.store, batches))

    async def _hand_over(self, group: asyncio.TaskGroup, call: Callable[[], None]) -> None:
        """Queue a call for the thread and wait while too many are under way."""
        future = self._submitted(call)
        # A failure must end the session even while it waits for the next message.
        group.create_task(_awaited(future))
        self._under_way.append(future)
        while len(self._under_way) > BATCHES_MAX:
            await self._under_way.popleft()

    def _submitted(self, call: Callable[[], ResultT]) -> asyncio.Future[ResultT]:
        """Queue a call for the thread; if it fails when the session has failed, nobody is told."""
        future = self._thread.submit(call)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    async def _settled(self) -> None:
        """Return when all that was handed over is done; raises what failed."""
        while self._under_way:
            await self._under_way.popleft()

    async def _flush(self) -> None:
        failpoint("materialize.flush")
        await self._acknowledged()
        await self._settled()
        if self._staged:
            await self._load()
        await self._conversation.send(messages.Flushed())
        failpoint("materialize.flushed")

    async def _load(self) -> None:
        blocks = await self._thread.run(lambda: self._blocks(iter(self._transactor.loaded())))
        upcoming = self._submitted(lambda: next(blocks, None))
        while (block := await upcoming) is not None:
            upcoming = self._submitted(lambda: next(blocks, None))
            await self._conversation.send_block(messages.Loaded, *block)

    def _blocks(self, loaded: Iterator[Loaded]) -> Iterator[tuple[int, bytes]]:
        """Join loaded documents to blocks of lines; yield each with its number of documents."""
        lines: list[bytes] = []
        count = size = 0
        for each in loaded:
            self._require_loadable(each.binding)
            lines.append(loaded_block(each.binding, each.documents))
            count += len(each.documents)
            size += len(lines[-1])
            if size >= LOADED_BLOCK_BYTES:
                yield count, b"".join(lines)
                lines, count, size = [], 0, 0
        if count:
            yield count, b"".join(lines)

    def _require_loadable(self, binding: int) -> None:
        if not 0 <= binding < len(self._bindings) or self._bindings[binding].delta_updates:
            raise ContractError(
                f"can't send loaded documents of binding {binding}: no key of it was loaded"
            )

    async def _commit(self, checkpoint: bytes) -> None:
        await self._settled()
        failpoint("materialize.commit")
        state = await self._thread.run(lambda: self._commits.commit(checkpoint or b"{}"))
        failpoint("materialize.committed")
        log.debug("transaction committed", loads=self._staged, stores=self._stored)
        self._holding.pace.committed(self._stored)
        self._staged = self._stored = 0
        await self._conversation.send(messages.StartedCommit(state=state))
        failpoint("materialize.started_commit")


async def open_session(
    conversation: Conversation, thread: Thread, commits: Commits, *, load_all: bool
) -> None:
    """Recover and say Opened; every key is to be loaded if `load_all`."""
    checkpoint = await thread.run(commits.recover)
    found = Raw(checkpoint) if checkpoint else ABSENT
    failpoint("materialize.opened")
    await conversation.send(
        messages.Opened(
            runtime_checkpoint=found if present(found) else ABSENT,
            disable_load_optimization=load_all,
        )
    )


def _each(call: Callable[[Any], None], batches: list[Keys] | list[Stores]) -> None:
    for batch in batches:
        call(batch)


async def _awaited(future: asyncio.Future[None]) -> None:
    await future
