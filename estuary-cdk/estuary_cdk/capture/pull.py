"""What a running capture works with: its bindings, and transactions that carry their documents.

    async with pull.transaction() as transaction:
        await transaction.emit(binding, documents)
        transaction.checkpoint(binding, State(position=position))

All documents of a transaction and the states it checkpoints become durable together or not at all.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from msgspec import Raw
from pydantic import BaseModel

from estuary_cdk.capture.output import (
    TRANSACTION_BUFFER_BYTES_MAX,
    WRITE_BYTES_MIN,
    Callback,
    Output,
    Run,
)
from estuary_cdk.capture.sharding import owns
from estuary_cdk.capture.state import Patch, States, StateT
from estuary_cdk.clock import Clock
from estuary_cdk.errors import ContractError, DataError
from estuary_cdk.protocol.capture import Captured, SourcedSchema
from estuary_cdk.protocol.codec import CAPTURE_RESPONSES, Codec, captured_block
from estuary_cdk.protocol.flow import CollectionSpec, RangeSpec

ConfigT = TypeVar("ConfigT", bound=BaseModel)
ResourceT = TypeVar("ResourceT", bound=BaseModel)

DOCUMENT_BYTES_MAX: Final = 16 << 20
# What is spelt at once should stay in the processor's caches until it is written.
EMITTED_DOCUMENTS: Final = 512

_CODEC: Final = Codec(CAPTURE_RESPONSES)


@dataclass(frozen=True, slots=True, eq=False)
class Binding(Generic[ResourceT, StateT]):
    """One resource captured into one collection.

    `state` is what was last committed for it, None for a new binding and after its backfill counter
    went up. `state_key` is empty and `state` None while the binding is only validated.
    """

    index: int
    resource: ResourceT
    resource_path: tuple[str, ...]
    collection: CollectionSpec
    backfill: int = 0
    state_key: str = ""
    state: StateT | None = None

    @property
    def name(self) -> str:
        """The resource's path as one text, for people."""
        return "/".join(self.resource_path)


class Transaction(Generic[ResourceT, StateT]):
    """Documents and the states that go with them; made by `Pull.transaction`.

    Leaving the block writes it. An exception inside discards it; when part of it was already
    written (it grew past TRANSACTION_BUFFER_BYTES_MAX) the capture can't go on: let the exception
    pass. One task has one transaction open at a time; any number of tasks have one each.
    """

    def __init__(self, output: Output, states: States[StateT]) -> None:
        self.documents = 0
        self.bytes = 0
        self._output = output
        self._states = states
        self._blocks: list[bytes] = []
        self._runs: list[Run] = []
        self._buffered = 0
        self._writing = False
        self._checkpointed = False
        self._updates: dict[str, StateT | Patch | None] = {}
        self._task: dict[str, Any] = {}
        self._callbacks: list[Callback] = []
        self._confirmed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self._output.begin()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                await self._commit()
        except BaseException as failure:
            error = failure
            raise
        finally:
            if self._writing:
                self._output.release(error)
                self._writing = False
            self._output.end()

    async def emit(self, binding: Binding[ResourceT, StateT], documents: Sequence[bytes]) -> None:
        """Add documents, each the JSON text of one object, in order; meant for many at once.

        Waits only once the transaction writes and the runtime is behind. Raises DataError for a
        document larger than the runtime takes.
        """
        for start in range(0, len(documents), EMITTED_DOCUMENTS):
            some = documents[start : start + EMITTED_DOCUMENTS]
            block = captured_block(binding.index, some)
            if len(block) > DOCUMENT_BYTES_MAX:
                _judge_sizes(binding, some)
            self.documents += len(some)
            self.bytes += len(block)
            await self._add(block, (Captured, len(some)))

    async def emit_block(
        self, binding: Binding[ResourceT, StateT], block: bytes, documents: int
    ) -> None:
        """Add so many documents that `captured_block` has spelled for the binding's index.

        For those who have a thread of their own to spell them on; else as `emit`.
        """
        if len(block) > DOCUMENT_BYTES_MAX:
            _judge_sizes(binding, block.split(b"\n"))
        self.documents += documents
        self.bytes += len(block)
        await self._add(block, (Captured, documents))

    async def sourced_schema(self, binding: Binding[ResourceT, StateT], schema: bytes) -> None:
        """Tell the source's own schema of the binding's documents; it has to be closed."""
        message = SourcedSchema(document_schema=Raw(schema), binding=binding.index)
        await self._add(_CODEC.encode(message), (SourcedSchema, 1))

    def checkpoint(
        self,
        binding: Binding[ResourceT, StateT] | None = None,
        state: StateT | Patch | None = None,
        *,
        task: Mapping[str, Any] | None = None,
    ) -> None:
        """Say from where to resume once this transaction is committed; every transaction must.

        A state replaces the binding's whole state, a Patch is merged into it, None removes it; call
        it once for each binding that moved on. `task` is a merge patch of what the task keeps
        beside its bindings. Without arguments nothing moves.
        """
        self._checkpointed = True
        if binding is not None:
            self._updates[binding.state_key] = state
        self._task.update(task or {})

    def on_acknowledged(self, callback: Callback) -> None:
        """Have `callback` called, in order of checkpoints, once this transaction is durable.

        Only for captures with explicit acknowledgements.
        """
        if not self._output.acknowledgements.explicit:
            raise ContractError(
                "can't wait for an acknowledgement: the capture doesn't ask for any",
                hint="set acknowledgements=True",
            )
        self._callbacks.append(callback)

    async def acknowledged(self) -> None:
        """Return once this transaction, which has to be complete, is durable."""
        if not self._output.acknowledgements.explicit:
            self.on_acknowledged(lambda: None)
        await self._confirmed.wait()

    async def _add(self, block: bytes, run: Run) -> None:
        if not block:
            return
        self._blocks.append(block)
        self._buffered += len(block)
        if self._runs and self._runs[-1][0] is run[0]:
            run = (run[0], self._runs.pop()[1] + run[1])
        self._runs.append(run)
        if self._writing:
            if self._buffered >= WRITE_BYTES_MIN:
                await self._write()
        elif self._buffered > TRANSACTION_BUFFER_BYTES_MAX:
            await self._take()
            await self._write()

    async def _take(self) -> None:
        await self._output.take()
        self._writing = True

    async def _write(self) -> None:
        blocks, runs = self._blocks, self._runs
        self._blocks, self._runs, self._buffered = [], [], 0
        if runs:
            await self._output.write(runs, b"".join(blocks))

    async def _commit(self) -> None:
        if not self._checkpointed:
            if self._runs or self._writing:
                raise ContractError(
                    "can't end a transaction: documents were emitted without a checkpoint",
                    hint="call transaction.checkpoint(binding, state) with where to resume",
                )
            return
        if not self._writing:
            await self._take()
        await self._write()
        await self._output.commit(self._states.patch(self._updates, self._task), self._confirm)

    def _confirm(self) -> None:
        self._confirmed.set()
        for callback in self._callbacks:
            callback()


def _judge_sizes(binding: Binding[Any, Any], documents: Sequence[bytes]) -> None:
    largest = max(map(len, documents))
    if largest > DOCUMENT_BYTES_MAX:
        raise DataError(
            f"can't capture a document of {binding.name!r}: it has {largest} bytes, "
            f"the limit is {DOCUMENT_BYTES_MAX}"
        )


@dataclass(frozen=True, slots=True)
class Pull(Generic[ConfigT, ResourceT, StateT]):
    """A session of capturing.

    It ends when the pull function returns, and then successfully. It is stopped from outside by
    cancelling the function, once no transaction is open; `stopping` is set shortly before.
    """

    name: str
    version: str
    config: ConfigT
    bindings: tuple[Binding[ResourceT, StateT], ...]
    range: RangeSpec
    clock: Clock
    stopping: asyncio.Event
    task_state: Mapping[str, Raw]
    _output: Output = field(repr=False)
    _states: States[StateT] = field(repr=False)

    def transaction(self) -> Transaction[ResourceT, StateT]:
        """Return a new transaction, to be entered with `async with`."""
        return Transaction(self._output, self._states)

    def owns(self, name: str) -> bool:
        """Tell whether this shard, among those of the task, is the one to capture `name`."""
        return owns(self.range, name)
