"""What a previewed materialization reads, by transaction: a fixture, or committed collections.

A feed's checkpoint is a runtime checkpoint as connectors store it. A fixture's has one source,
`fixture`, whose `readThrough` counts transactions; that of collections has an offset per binding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from estuary_cdk.clock import Clock
from estuary_cdk.errors import DataError
from estuary_cdk.protocol.flow import CollectionSpec
from estuary_cdk.protocol.materialize import MaterializationSpec
from flow_local.collections import Collections, JournalReader, Selection
from flow_local.preview.fixtures import Fixture
from flow_local.schema.validation import Validator
from flow_local.tasks.sources import Checkpoint, check

TRANSACTION_BYTES_MAX: Final = 32 << 20
LOOK_S: Final = 0.2
FIXTURE: Final = "fixture"


@dataclass(frozen=True, slots=True)
class Transaction:
    """Documents by binding, and the checkpoint after them."""

    documents: Sequence[tuple[int, list[bytes]]]
    checkpoint: bytes


class Feed(Protocol):
    """Where transactions come from, one after the other."""

    @property
    def ended(self) -> bool:
        """Whether there are certainly no more."""
        ...

    def resume(self, checkpoint: bytes) -> None:
        """Go on after a checkpoint, which may be from another feed."""
        ...

    async def next(self, timeout_s: float | None) -> Transaction | None:
        """Return the next transaction, or None where there is none or none begins in time."""
        ...

    def close(self) -> None:
        """Give back what it holds; `resume` takes it again."""
        ...


def _collections(spec: MaterializationSpec) -> list[CollectionSpec]:
    return [binding.collection for binding in spec.bindings if binding.collection is not None]


class FixtureFeed:
    """A fixture's transactions; documents of collections that no binding reads are left out."""

    def __init__(self, fixture: Fixture, spec: MaterializationSpec) -> None:
        self._fixture = fixture
        self._checkpoint = Checkpoint(b"")
        self._readers: dict[str, list[int]] = {}
        self._validators: dict[int, tuple[str, Validator]] = {}
        for index, collection in enumerate(_collections(spec)):
            self._readers.setdefault(collection.name, []).append(index)
            schema = bytes(collection.read_schema) or bytes(collection.write_schema)
            self._validators[index] = collection.name, Validator(schema)

    @property
    def _at(self) -> int:
        return self._checkpoint.offsets.get(FIXTURE, 0)

    @property
    def ended(self) -> bool:
        """Whether all transactions were read."""
        return self._at >= len(self._fixture.transactions)

    def resume(self, checkpoint: bytes) -> None:
        """Skip as many transactions as a checkpoint has read through."""
        self._checkpoint = Checkpoint(checkpoint)

    async def next(self, timeout_s: float | None) -> Transaction | None:  # noqa: ARG002 - is here
        """Return the next transaction; raises DataError for a document that isn't valid."""
        if self.ended:
            return None
        index = self._at
        documents = self._fixture.documents(index, self._readers)
        for binding, found in documents:
            name, validator = self._validators[binding]
            if failure := validator.first_failure(found):
                raise DataError(
                    f"can't read a document of collection {name!r} in transaction {index} of the "
                    f"fixture: at {failure.pointer or 'the root'}: {failure.reason}",
                    hint="fix the fixture, or the collection's schema",
                )
        text = self._checkpoint.advanced({FIXTURE: index + 1})
        self._checkpoint = Checkpoint(text)
        return Transaction(documents, text)

    def close(self) -> None:
        """Give nothing back: it holds nothing."""


class CollectionsFeed:
    """What is committed to collections of a data directory, also while others write them.

    `ends` looks up how far each collection is committed. A transaction is held open for `delay_s`.
    `selections` says of each binding which documents it reads.
    """

    def __init__(
        self,
        spec: MaterializationSpec,
        root: Path,
        ends: Callable[[], Mapping[str, int]],
        clock: Clock,
        delay_s: float = 0.0,
        selections: Sequence[Selection] = (),
    ) -> None:
        self._selections = selections
        self.ended = False
        self._spec = spec
        self._root = root
        self._clock = clock
        self._delay_s = delay_s
        self._ends = ends
        self._names = [collection.name for collection in _collections(spec)]
        self._sources = [
            f"{name};{binding.journal_read_suffix}"
            for name, binding in zip(self._names, spec.bindings, strict=True)
        ]
        self._checkpoint = Checkpoint(b"")
        self._readers: list[JournalReader] = []

    def resume(self, checkpoint: bytes) -> None:
        """Read on from a checkpoint; raises ConfigError where a collection is shorter than that."""
        self.close()
        self._checkpoint = Checkpoint(checkpoint)
        offsets = [self._checkpoint.offsets.get(source, 0) for source in self._sources]
        collections = Collections(self._root, self._ends())
        check(self._spec.name, collections, zip(self._names, offsets, strict=True))
        self._readers = [
            collections.reader(name, offset)
            for name, offset in zip(self._names, offsets, strict=True)
        ]

    async def next(self, timeout_s: float | None) -> Transaction | None:
        """Return what is committed now, and as much as comes within the delay."""
        began = self._clock.monotonic()
        found: list[tuple[int, list[bytes]]] = []
        size = 0
        while size < TRANSACTION_BYTES_MAX:
            blocks = self._read()
            if blocks and not found:
                began = self._clock.monotonic()
            found += [(binding, self._documents(binding, block)) for binding, block in blocks]
            size += sum(len(block) for _, block in blocks)
            if blocks:
                continue
            waited = self._clock.monotonic() - began
            if found and waited >= self._delay_s:
                break
            if not found and timeout_s is not None and waited >= timeout_s:
                return None
            await self._clock.sleep(LOOK_S)
        offsets = [reader.offset for reader in self._readers]
        text = self._checkpoint.advanced(dict(zip(self._sources, offsets, strict=True)))
        self._checkpoint = Checkpoint(text)
        return Transaction(found, text)

    def _documents(self, binding: int, block: bytes) -> list[bytes]:
        documents = block.split(b"\n")[:-1]
        return self._selections[binding].chosen(documents) if self._selections else documents

    def _read(self) -> list[tuple[int, bytes]]:
        """Read the next block of each collection that has one."""
        ends = self._ends()
        blocks = [
            (binding, reader.read(ends.get(name, 0)))
            for binding, (name, reader) in enumerate(zip(self._names, self._readers, strict=True))
        ]
        return [(binding, block) for binding, block in blocks if block]

    def close(self) -> None:
        """Give files back."""
        for reader in self._readers:
            reader.close()
        self._readers = []
