"""Previews of materializations: transactions for a real connector, which nothing else hears of.

Each session is a connector of its own, opened with the state, checkpoint and greatest keys that the
one before left. A session that has made its transactions ends at once after the last commit; what
its connector does only when it is acknowledged is done at the start of the next. So the last
session is followed by one without transactions, which drains it.
"""

import asyncio
from typing import Any, Final

from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError, shortened
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.flow import FULL_RANGE, ConnectorState
from estuary_cdk.protocol.materialize import (
    Acknowledge,
    Acknowledged,
    Flush,
    Flushed,
    Load,
    Loaded,
    MaterializationSpec,
    Open,
    Opened,
    StartCommit,
    StartedCommit,
    Store,
)
from estuary_cdk.protocol.message import ABSENT, Message, present
from flow_local.build.lineage import version_of
from flow_local.connectors import MATERIALIZE, ConnectorFailed, Conversation, conversation
from flow_local.preview.applying import applied, openable
from flow_local.preview.feeds import Feed, Transaction
from flow_local.preview.lines import state_lines
from flow_local.preview.plans import Preview
from flow_local.recovery.patches import patches_of, updated
from flow_local.tasks.sources import Checkpoint
from flow_local.tasks.transaction import ALL_KEYS, Gathered, fields_of

END_WAIT_S: Final = 10.0

log = get_logger(__name__)


class MaterializationPreview:
    """Previews one materialization; `state` is the connector's, all along."""

    def __init__(self, preview: Preview, feed: Feed) -> None:
        assert isinstance(preview.spec, MaterializationSpec)
        self.state = preview.plan.initial_state
        self.checkpoint = b"{}"
        self.max_keys = [b"" for _ in preview.spec.bindings]
        self.preview = preview
        self.feed = feed
        self.spec = preview.spec

    async def run(self) -> None:
        """Run all sessions and drain the last.

        Raises what ends a session: DataError for a document that violates its collection's schema,
        ConnectorFailed, RemoteProtocolError.
        """
        for number, transactions in enumerate((*self.preview.plan.sessions, 0)):
            self.state = await applied(self.preview, self.state, again=number > 0)
            try:
                await self._session(transactions)
            finally:
                self.feed.close()

    async def _session(self, transactions: int) -> None:
        connector = self.preview.connector
        async with conversation(connector, MATERIALIZE, "preview") as talk:
            version = version_of(self.spec)
            request = Open(
                materialization=self.spec,
                version=version,
                range=FULL_RANGE,
                state=Raw(openable(self.state)),
            )
            await talk.send(request)
            opened = await talk.expect(Opened)
            assert isinstance(opened, Opened)
            if present(opened.runtime_checkpoint):
                theirs = bytes(opened.runtime_checkpoint)
                if Checkpoint(theirs).offsets != Checkpoint(self.checkpoint).offsets:
                    # What they hold isn't what our keys tell of.
                    self.max_keys = [ALL_KEYS for _ in self.max_keys]
                self.checkpoint = theirs
            self.feed.resume(self.checkpoint)
            session = _Session(self, talk, loads_all=opened.disable_load_optimization)
            await _together(session, transactions)


async def _together(session: "_Session", transactions: int) -> None:
    """Make transactions while responses are received; raise the one error that ends both."""
    try:
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(session.receive())
            await session.run(transactions)
            _, late = await asyncio.wait({receiving}, timeout=END_WAIT_S)
            if late:
                log.warning("the connector doesn't end with its stdin and is killed")
                receiving.cancel()
    except BaseExceptionGroup as failures:
        told = [error for error in failures.exceptions if isinstance(error, ConnectorFailed)]
        raise (told or failures.exceptions)[0] from None


class _Session:
    """One connector's transactions."""

    def __init__(
        self, task: MaterializationPreview, talk: Conversation, *, loads_all: bool
    ) -> None:
        self._task = task
        self._talk = talk
        self._loads_all = loads_all
        self._fields = [fields_of(index, each) for index, each in enumerate(task.spec.bindings)]
        self._gathered: list[Gathered] = []
        self._answers: asyncio.Queue[Message | None] = asyncio.Queue()
        self._ends_committed = False

    async def receive(self) -> None:
        """Take responses until the connector ends where it may."""
        try:
            while runs := await self._talk.receive():
                for kind, messages in runs:
                    if kind is Loaded:
                        self._loaded(messages)
                    else:
                        for message in messages:
                            self._answers.put_nowait(message)
        except ConnectorFailed as error:
            # It may not know of an end there, and all that was asked of it is committed.
            if not self._ends_committed:
                raise
            log.warning(
                "the connector failed when its session ended after a commit", reason=error.message
            )
        self._answers.put_nowait(None)

    def _loaded(self, messages: list[Loaded]) -> None:
        by_binding: dict[int, list[bytes]] = {}
        for message in messages:
            by_binding.setdefault(message.binding, []).append(bytes(message.doc))
        for binding, documents in by_binding.items():
            if binding >= len(self._gathered):
                raise self._stray(f"a document of binding {binding}")
            if key := self._gathered[binding].loaded(documents):
                raise self._stray(f"key {shortened(key.decode())} of binding {binding}")

    def _stray(self, what: str) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"can't preview {self._task.spec.name!r}: the connector loaded {what}, which wasn't "
            f"asked for or was answered before"
        )

    async def _answer(self) -> Any:
        """Return the next response; the conversation's judge knows that it is the one to come."""
        message = await self._answers.get()
        if message is None:
            raise RemoteProtocolError(
                f"can't preview {self._task.spec.name!r}: the connector exited with status 0 in "
                f"the middle of its work"
            )
        return message

    async def run(self, transactions: int) -> None:
        """Make as many transactions, or as many as there are, and end the requests."""
        task = self._task
        started: ConnectorState | None = None
        left = transactions
        while True:
            self._renew()
            await self._talk.send(Acknowledge(state_patches=_patches(started)))
            read = None
            if left != 0 and not task.feed.ended:
                read = await task.feed.next(task.preview.plan.timeout_s)
            if read is not None:
                await self._load(read)
            acknowledged: Acknowledged = await self._answer()
            task.state = updated(task.state, acknowledged.state)
            if read is None:
                break
            started = await self._commit(read, acknowledged.state)
            left -= 1
            if left == 0 or task.feed.ended:
                self._ends_committed = True
                break
        await self._talk.end_requests()

    def _renew(self) -> None:
        self._gathered = [
            Gathered(fields, max_key, loads_all=self._loads_all)
            for fields, max_key in zip(self._fields, self._task.max_keys, strict=True)
        ]

    async def _load(self, transaction: Transaction) -> None:
        for binding, documents in transaction.documents:
            count, lines = self._gathered[binding].add(documents)
            if count:
                await self._talk.send_block(Load, count, lines)

    async def _commit(
        self, transaction: Transaction, acknowledged: ConnectorState | None
    ) -> ConnectorState | None:
        """Flush, store and commit; return the state's update of the commit."""
        task = self._task
        await self._talk.send(Flush(state_patches=_patches(acknowledged)))
        flushed: Flushed = await self._answer()
        task.state = updated(task.state, flushed.state)
        for gathered in self._gathered:
            for count, lines in gathered.stores():
                await self._talk.send_block(Store, count, lines)
        await self._talk.send(
            StartCommit(
                runtime_checkpoint=Raw(transaction.checkpoint),
                state_patches=_patches(flushed.state),
            )
        )
        started: StartedCommit = await self._answer()
        task.state = updated(task.state, started.state)
        task.checkpoint = transaction.checkpoint
        task.max_keys = [gathered.max_key for gathered in self._gathered]
        if task.preview.plan.output_state:
            task.preview.write(state_lines(started.state))
        return started.state


def _patches(update: ConnectorState | None) -> Raw:
    text = patches_of(update)
    return Raw(text) if text else ABSENT
