"""Transactions against a SQL database: the same for all but for how rows get there and back.

A connector brings a `Strategy`: how its database loads and stores in bulk. What is here is what
makes it exactly once: the fence, and the checkpoint that commits in the transaction of the rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from estuary_cdk.errors import ContractError, DataError, TransientError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.kits.sql import statements
from estuary_cdk.kits.sql.checkpoints import Connection, Fence, commit_checkpoint, install_fence
from estuary_cdk.kits.sql.dialect import Dialect
from estuary_cdk.logs import get_logger
from estuary_cdk.materialize.bindings import Shard
from estuary_cdk.materialize.patterns import Keys, Loaded, Stores

log = get_logger(__name__)

FENCE_ATTEMPTS_MAX: Final = 3


class Session(Connection, Protocol):
    """A connection whose transactions begin and end when told to."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, be it a failed one."""
        ...

    def begin(self) -> None:
        """Begin a transaction unless one is open."""
        ...

    def commit(self) -> None:
        """Commit; raises if that failed."""
        ...

    def rollback(self) -> None:
        """Undo the open transaction; does nothing where there is none."""
        ...


class Strategy(Protocol):
    """How one kind of database loads and stores in bulk, inside a transaction at hand.

    `stage` and `store` may keep what they get in memory, within a limit. `loaded` yields what is
    committed of the keys staged since the last call, for the bindings that have any. After `settle`
    everything stored is in its table, and nothing of this transaction is left in memory.
    """

    def stage(self, keys: Keys) -> None: ...

    def loaded(self) -> Iterable[Loaded]: ...

    def store(self, batch: Stores) -> None: ...

    def settle(self) -> None: ...


class SqlTransactor:
    """Stores the documents of one shard, exactly once; `RemoteAuthoritative`."""

    def __init__(
        self,
        name: str,
        session: Session,
        dialect: Dialect,
        shard: Shard,
        strategy: Strategy,
        *,
        namespace: Sequence[str] = (),
    ) -> None:
        self._name = name
        self._session = session
        self._dialect = dialect
        self._shard = shard
        self._strategy = strategy
        self._namespace = namespace
        self._fence: Fence | None = None

    def fence(self) -> bytes | None:
        """Shut out older instances and return the checkpoint last committed."""
        for attempt in range(1, FENCE_ATTEMPTS_MAX + 1):
            try:
                self._in_transaction(self._install)
                break
            # Another process may be installing its own: a deadlock, or a row that wasn't there yet.
            except (DataError, TransientError) as error:
                if attempt == FENCE_ATTEMPTS_MAX:
                    raise
                log.warning("can't install the fence, trying again", reason=str(error))
        failpoint(f"{self._name}.fenced")
        return (self._fence.checkpoint if self._fence else b"") or None

    def _install(self) -> None:
        create = statements.create_checkpoints(self._dialect, self._namespace)
        self._session.execute(create, ())
        self._fence = install_fence(self._session, self._dialect, self._shard, self._namespace)

    def _in_transaction(self, act: Any) -> None:
        self._session.begin()
        try:
            act()
            self._session.commit()
        finally:
            self._session.rollback()

    def stage(self, keys: Keys) -> None:
        """Remember keys in the transaction at hand."""
        self._session.begin()
        self._strategy.stage(keys)

    def loaded(self) -> Iterable[Loaded]:
        """Yield the documents of all staged keys."""
        yield from self._strategy.loaded()
        failpoint(f"{self._name}.loaded")

    def store(self, batch: Stores) -> None:
        """Store a batch in the transaction at hand."""
        self._session.begin()
        self._strategy.store(batch)
        failpoint(f"{self._name}.stored")

    def commit(self, checkpoint: bytes) -> None:
        """Commit what was stored together with the checkpoint, if no newer instance has opened."""
        if self._fence is None:
            raise ContractError("can't commit: no fence was installed")
        fence = self._fence

        def act() -> None:
            self._strategy.settle()
            failpoint(f"{self._name}.settled")
            commit_checkpoint(self._session, self._dialect, fence, checkpoint, self._namespace)
            failpoint(f"{self._name}.committing")

        self._in_transaction(act)
        failpoint(f"{self._name}.committed")
