"""Batches of documents, and the three ways in which a destination commits them.

A transactor is the connector's part of a session of transactions. It is written as blocking code:
all its calls come from one thread, one after the other. A transaction is

    stage(keys)*   loaded()   store(batch)*   then, by pattern:

    RemoteAuthoritative   commit(checkpoint)    the destination keeps the checkpoint: exactly once
    PostCommitApply       staged(), later apply(staged)      the runtime keeps it: exactly once
    AtLeastOnce           flush()                            stores may be repeated after a crash

`stage` only remembers: it may come before the last transaction is applied. `loaded` comes once per
transaction, when the last one is committed and applied, and not at all when nothing was staged.
After it, and not before, `store` is called. Every key comes at most once per transaction and
binding, in `stage` and again in `store`, so the order within a transaction doesn't matter. A
transaction may be empty. The pattern is told from the methods a transactor has.

What isn't committed when the transactor's context ends, however it ends, must leave no trace that
counts. An exception out of any call ends the session.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of one binding to look up: each the JSON text of an array, in the order of `keys`."""

    binding: int
    keys: list[bytes]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Stored documents of one binding, byte for byte as they were stored; in any order."""

    binding: int
    documents: list[bytes]


@dataclass(frozen=True, slots=True)
class Stores:
    """Documents of one binding to store: lists of equal length.

    `keys` and `values` hold the JSON text of an array each, in the order of the binding's fields.
    `documents` is None where the binding selects none. `exists` tells that the key has a row;
    without it there is none (standard updates) or it doesn't matter (delta updates). `deletes`
    marks documents that tell of a deletion: a destination that deletes rows then deletes the row if
    it exists, and stores nothing; any other stores the document as it is.
    """

    binding: int
    keys: list[bytes]
    values: list[bytes]
    documents: list[bytes] | None
    exists: list[bool]
    deletes: list[bool]

    def __len__(self) -> int:
        return len(self.keys)


class Loads(Protocol):
    """Reading back what is stored; never called for bindings with delta updates."""

    def stage(self, keys: Keys) -> None:
        """Remember keys to look up in this transaction; must not look yet."""
        ...

    def loaded(self) -> Iterable[Loaded]:
        """Yield the documents of all keys staged since the last call; missing ones are left out."""
        ...

    def store(self, batch: Stores) -> None:
        """Take documents of this transaction."""
        ...


@runtime_checkable
class RemoteAuthoritative(Loads, Protocol):
    """The destination commits documents and checkpoint in one transaction of its own."""

    def fence(self) -> bytes | None:
        """Shut out all older instances of this shard; return the checkpoint last committed.

        Called once, first. The checkpoint is returned byte for byte, or None if there is none.
        """
        ...

    def commit(self, checkpoint: bytes) -> None:
        """Commit what was stored together with the checkpoint (JSON text, opaque).

        Raises Fenced, and commits nothing, if a newer instance has opened.
        """
        ...


@runtime_checkable
class PostCommitApply(Loads, Protocol):
    """The transaction is set down aside, and applied after the runtime made it durable."""

    def staged(self) -> Mapping[int, bytes]:
        """Make what was stored durable, aside, and return how to find it, by binding.

        Any UTF-8 text; the kit keeps it in the connector's state. What `apply` never gets was never
        committed.
        """
        ...

    def apply(self, staged: Mapping[int, bytes]) -> None:
        """Apply what `staged` returned, in this process or in one before it.

        Must be repeatable: a crash may come after any part of it and it is called again, with the
        same or with what a parent shard staged. Returns when all of it can be read by `loaded`.
        """
        ...


@runtime_checkable
class AtLeastOnce(Loads, Protocol):
    """Documents are stored as they come; a crash may store some of them again."""

    def flush(self) -> None:
        """Return when everything stored is durable."""
        ...


Transactor = RemoteAuthoritative | PostCommitApply | AtLeastOnce
"""What a session of transactions needs, in one of the three patterns."""
