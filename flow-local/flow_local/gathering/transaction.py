"""What one transaction holds of all bindings, and what can be asked of it."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from estuary_cdk.protocol.materialize import MaterializationSpec
from flow_local.gathering.documents import Fields, Gathered, fields_of
from flow_local.serialization import Finishing

WRITE_BYTES: Final = 1 << 18


@dataclass(slots=True)
class Held:
    """What is held of one binding so far."""

    max_key: bytes
    """The greatest key ever stored, this transaction included."""
    documents: int = 0
    size: int = 0
    """About how many bytes are kept for the stores."""


class Gathering(Protocol):
    """One transaction: takes documents, then what is loaded for them, and gives stores.

    Calls for several transactions may alternate; those for one are made one after the other.
    """

    held: Sequence[Held]
    """What it holds of each binding."""

    async def add(self, binding: int, documents: Sequence[bytes]) -> tuple[int, bytes]:
        """Take documents, in order; return how many loads to send for them, and their lines."""
        ...

    async def loaded(self, binding: int, documents: Sequence[bytes]) -> bytes:
        """Take stored documents; return the first key that wasn't asked for, if any, as JSON."""
        ...

    def stores(self) -> AsyncIterator[tuple[int, bytes]]:
        """Give all stores, binding by binding, each in the order of keys, and forget them.

        They come counted, as blocks of lines.
        """
        ...


@dataclass(frozen=True, slots=True)
class Compiled:
    """How stores of each binding are made, and how they leave."""

    fields: Sequence[Fields]
    finishing: Sequence[Finishing]
    loads_all: bool


def compiled(spec: MaterializationSpec, *, packs_values: bool, loads_all: bool) -> Compiled:
    """Compile a built materialization: once per session and process."""
    return Compiled(
        [fields_of(index, each) for index, each in enumerate(spec.bindings)],
        [Finishing(each, packs=packs_values) for each in spec.bindings],
        loads_all,
    )


class Transaction:
    """The transaction itself: what a `Gathering` does, without waiting."""

    def __init__(self, how: Compiled, max_keys: Sequence[bytes]) -> None:
        self.held = [Held(key) for key in max_keys]
        self._finishing = how.finishing
        self._gathered = [
            Gathered(fields, max_key, loads_all=how.loads_all)
            for fields, max_key in zip(how.fields, max_keys, strict=True)
        ]

    def add(self, binding: int, documents: Sequence[bytes]) -> tuple[int, bytes]:
        """See `Gathering`."""
        loads = self._gathered[binding].add(documents)
        self._note(binding)
        return loads

    def loaded(self, binding: int, documents: Sequence[bytes]) -> bytes:
        """See `Gathering`."""
        stray = self._gathered[binding].loaded(documents)
        self._note(binding)
        return stray

    def _note(self, binding: int) -> None:
        gathered = self._gathered[binding]
        held = self.held[binding]
        held.max_key, held.documents = gathered.max_key, gathered.documents
        held.size = gathered.held_bytes

    def stores(self) -> Iterator[tuple[int, bytes]]:
        """See `Gathering`."""
        for gathered, finishing in zip(self._gathered, self._finishing, strict=True):
            pending: list[bytes] = []
            total = size = 0
            for count, spelt in gathered.stores():
                lines = finishing.finished(spelt)
                pending.append(lines)
                total += count
                size += len(lines)
                if size >= WRITE_BYTES:
                    yield total, b"".join(pending)
                    pending, total, size = [], 0, 0
            if pending:
                yield total, b"".join(pending)


class Here:
    """A transaction in this process, as a `Gathering`."""

    def __init__(self, how: Compiled, max_keys: Sequence[bytes]) -> None:
        self._transaction = Transaction(how, max_keys)
        self.held: Sequence[Held] = self._transaction.held

    async def add(self, binding: int, documents: Sequence[bytes]) -> tuple[int, bytes]:
        """See `Gathering`."""
        return self._transaction.add(binding, documents)

    async def loaded(self, binding: int, documents: Sequence[bytes]) -> bytes:
        """See `Gathering`."""
        return self._transaction.loaded(binding, documents)

    async def stores(self) -> AsyncIterator[tuple[int, bytes]]:
        """See `Gathering`."""
        for block in self._transaction.stores():
            yield block
