"""Previews of captures: each session's documents, printed by transaction and forgotten.

Each session is a connector of its own, started from the state that the one before left. A
transaction is a checkpoint and the documents before it, or all of them that come while it is held
open; its documents are combined and in the order of their bindings and keys. A session ends after
so many transactions, when nothing comes for a while, or when the connector exits.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Raw

from estuary_cdk.errors import DataError, RemoteProtocolError
from estuary_cdk.protocol.capture import (
    Acknowledge,
    Captured,
    CaptureSpec,
    Checkpoint,
    Open,
    Opened,
)
from estuary_cdk.protocol.flow import FULL_RANGE, CollectionSpec, ConnectorState
from flow_local.build.lineage import version_of
from flow_local.collections import Combiner, identities
from flow_local.connectors import CAPTURE, Conversation, conversation
from flow_local.preview.applying import applied, openable
from flow_local.preview.lines import document_line, state_lines
from flow_local.preview.plans import Preview
from flow_local.recovery.patches import says, updated
from flow_local.schema.extraction import Extractor
from flow_local.schema.reductions import Reducer
from flow_local.schema.validation import Validator

TRANSACTION_BYTES_MAX: Final = 1 << 30
ACKNOWLEDGE_WAIT_S: Final = 30.0


class CapturePreview:
    """Previews one capture; `state` is the connector's, all along."""

    def __init__(self, preview: Preview) -> None:
        self.state = preview.plan.initial_state
        self._preview = preview

    async def run(self) -> None:
        """Run all sessions.

        Raises what ends a session: DataError for a document that violates its collection's schema,
        ConnectorFailed, RemoteProtocolError.
        """
        preview = self._preview
        for number, transactions in enumerate(preview.plan.sessions):
            self.state = await applied(preview, self.state, again=number > 0)
            if transactions == 0:
                continue
            async with conversation(preview.connector, CAPTURE, "preview") as talk:
                session = _Session(preview, talk, self.state, transactions)
                try:
                    await session.run()
                finally:
                    self.state = session.state


class _Session:
    """One connector's transactions; `state` has the updates of those that are printed."""

    def __init__(
        self, preview: Preview, talk: Conversation, state: bytes, transactions: int
    ) -> None:
        spec = preview.spec
        assert isinstance(spec, CaptureSpec)
        self.state = state
        self._preview = preview
        self._talk = talk
        self._spec = spec
        self._left = transactions
        self._documents = [
            _Documents(each.collection) for each in spec.bindings if each.collection is not None
        ]
        self._updates: list[ConnectorState | None] = []
        self._bytes = 0
        self._acknowledges = False
        self._open_until = 0.0

    async def run(self) -> None:
        version = version_of(self._spec)
        state = Raw(openable(self.state))
        request = Open(capture=self._spec, version=version, range=FULL_RANGE, state=state)
        await self._talk.send(request)
        self._begin()
        while self._left != 0:
            runs = await self._talk.receive_within(self._patience_s())
            if not runs:
                if not self._updates:
                    return
                await self._commit()
                if runs is not None:
                    return
            else:
                for kind, messages in runs:
                    if await self._take(kind, messages):
                        return

    def _begin(self) -> None:
        self._open_until = self._preview.clock.monotonic() + self._preview.plan.delay_s

    def _patience_s(self) -> float | None:
        """Return how long to wait for the connector to say something."""
        if self._updates:
            return max(0.0, self._open_until - self._preview.clock.monotonic())
        return self._preview.plan.timeout_s

    async def _take(self, kind: type, messages: Sequence[Any]) -> bool:
        """Take equal messages in; tell whether they complete the session."""
        if kind is Opened:
            self._acknowledges = messages[0].explicit_acknowledgements
        elif kind is Captured:
            for message in messages:
                self._captured(message.binding, bytes(message.doc))
        elif kind is Checkpoint:
            for message in messages:
                for documents in self._documents:
                    documents.checkpoint()
                self._updates.append(message.state)
                if self._preview.clock.monotonic() >= self._open_until:
                    await self._commit()
                    if self._left == 0:
                        return True
        return False

    def _captured(self, binding: int, document: bytes) -> None:
        name = self._preview.name
        if binding >= len(self._documents):
            raise RemoteProtocolError(
                f"can't preview {name!r}: the connector sent a document of binding {binding}, but "
                f"there are {len(self._documents)}"
            )
        self._bytes += len(document)
        if self._bytes > TRANSACTION_BYTES_MAX:
            raise DataError(
                f"can't preview {name!r}: one transaction has more than {TRANSACTION_BYTES_MAX} "
                f"bytes",
                hint="run it instead: flow-local run",
            )
        self._documents[binding].add(document)

    async def _commit(self) -> None:
        lines = [line for documents in self._documents for line in documents.lines()]
        updates, self._updates = self._updates, []
        for update in updates:
            self.state = updated(self.state, update)
        if self._preview.plan.output_state:
            said = [update for update in updates if update is not None and says(update)]
            lines += [state_lines(update) for update in said] or [state_lines(None)]
        self._preview.write(b"".join(lines))
        if self._acknowledges:
            await self._talk.send_within(ACKNOWLEDGE_WAIT_S, Acknowledge(checkpoints=len(updates)))
        self._bytes = sum(documents.pending_bytes for documents in self._documents)
        self._left -= 1
        self._begin()


class _Documents:
    """A binding's documents: those before the last checkpoint, and those since."""

    def __init__(self, collection: CollectionSpec) -> None:
        schema = bytes(collection.write_schema)
        self._name = collection.name
        self._eligible: list[bytes] = []
        self._pending: list[bytes] = []
        self._keys = Extractor(collection.key)
        self._validator = Validator(schema)
        self._combiner = Combiner(collection.key, Reducer(schema))

    @property
    def pending_bytes(self) -> int:
        return sum(map(len, self._pending))

    def add(self, document: bytes) -> None:
        self._pending.append(document)

    def checkpoint(self) -> None:
        self._eligible += self._pending
        self._pending = []

    def lines(self) -> list[bytes]:
        """Return the lines of what is eligible, and forget it."""
        documents, self._eligible = self._eligible, []
        if not documents:
            return []
        failure = self._validator.first_failure(documents)
        if failure is not None:
            raise DataError(
                f"can't capture a document into collection {self._name!r}: "
                f"at {failure.pointer or 'the root'}: {failure.reason}",
                hint="fix the collection's schema, or the source's data",
            )
        combined = self._combiner.combined(documents)
        keys = identities(self._keys.rows(combined))
        order = sorted(range(len(combined)), key=keys.__getitem__)
        return [document_line(self._name, combined[place]) for place in order]
