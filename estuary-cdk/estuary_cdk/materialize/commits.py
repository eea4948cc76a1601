"""The three commit patterns as the runner sees them: what to do at open, commit and acknowledge.

All functions here are blocking: they call the transactor, in its thread.
"""

from typing import Protocol

from estuary_cdk.errors import ContractError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.materialize.patterns import (
    AtLeastOnce,
    Loads,
    PostCommitApply,
    RemoteAuthoritative,
)
from estuary_cdk.materialize.staging import (
    Ledger,
    Pending,
    cleared,
    overlapping,
    patched,
    patches_of,
    pending,
    recorded,
)
from estuary_cdk.protocol.flow import ConnectorState


class Commits(Protocol):
    """What a pattern does at the moments at which patterns differ."""

    def recover(self) -> bytes | None:
        """Take over from any older instance; return the checkpoint to resume from, if kept."""
        ...

    def commit(self, checkpoint: bytes) -> ConnectorState | None:
        """Commit, or make ready to commit with the state update that is returned."""
        ...

    def acknowledge(self, state_patches: bytes) -> ConnectorState | None:
        """Finish what the last commit left to do; return the state update that says so."""
        ...


def commits(transactor: Loads, ledger: Ledger, state: bytes) -> Commits:
    """Return the pattern that a transactor's methods spell.

    Raises ContractError unless it is exactly one.
    """
    found: list[Commits] = []
    if isinstance(transactor, RemoteAuthoritative):
        found.append(RemoteCommits(transactor))
    if isinstance(transactor, PostCommitApply):
        found.append(AppliedCommits(transactor, ledger, pending(state)))
    if isinstance(transactor, AtLeastOnce):
        found.append(FlushedCommits(transactor))
    if len(found) != 1:
        raise ContractError(
            f"can't run transactor {type(transactor).__name__}: its methods fit {len(found)} "
            "commit patterns",
            hint="fence and commit, or staged and apply, or flush",
        )
    return found[0]


class RemoteCommits:
    """The destination keeps the checkpoint."""

    def __init__(self, transactor: RemoteAuthoritative) -> None:
        self._transactor = transactor

    def recover(self) -> bytes | None:
        return self._transactor.fence()

    def commit(self, checkpoint: bytes) -> ConnectorState | None:
        self._transactor.commit(checkpoint)
        return None

    def acknowledge(self, state_patches: bytes) -> ConnectorState | None:
        del state_patches  # nothing is left to do
        return None


class FlushedCommits:
    """Nobody ties the documents to the checkpoint: they are stored before it moves."""

    def __init__(self, transactor: AtLeastOnce) -> None:
        self._transactor = transactor

    def recover(self) -> bytes | None:
        return None

    def commit(self, checkpoint: bytes) -> ConnectorState | None:
        del checkpoint  # the runtime keeps it
        self._transactor.flush()
        return None

    def acknowledge(self, state_patches: bytes) -> ConnectorState | None:
        del state_patches  # nothing is left to do
        return None


class AppliedCommits:
    """Staged work goes through the runtime's state and is applied once it is durable there.

    Where the runtime tells of all shards' patches, the first shard applies for everyone.
    """

    def __init__(self, transactor: PostCommitApply, ledger: Ledger, found: Pending) -> None:
        self._transactor = transactor
        self._ledger = ledger
        self._pending = overlapping(found, ledger.shard)

    def recover(self) -> bytes | None:
        return None

    def commit(self, checkpoint: bytes) -> ConnectorState | None:
        del checkpoint  # the runtime keeps it
        entries = self._ledger.entries(self._transactor.staged())
        self._pending.update(entries)
        return recorded(entries)

    def acknowledge(self, state_patches: bytes) -> ConnectorState | None:
        told = patches_of(state_patches)
        if told:
            first = self._ledger.shard.key_begin == 0
            self._pending = patched(self._pending, told) if first else {}
        work = self._ledger.known(self._pending)
        for staged in self._ledger.batches(work):
            failpoint("materialize.apply_staged")
            self._transactor.apply(staged)
        self._pending = {}
        return cleared(work)
