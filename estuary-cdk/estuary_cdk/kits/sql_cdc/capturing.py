"""The core of a log-based capture: backfills and changes in one order that converges.

Chunks of tables are read, then changes are read up to a fence taken behind them, and both go out
under one checkpoint: whoever reads the collection sees the row as the chunk found it and then every
change the chunk may have missed, never the other way round for good. In mode Precise a change of a
row that the scan has yet to reach is left out: the scan will find it.

The position of the stream is acknowledged to the database only once the runtime has acknowledged
the checkpoint that holds it.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from estuary_cdk import logs
from estuary_cdk.capture import Binding, Pull, Transaction
from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.kits.sql_cdc.database import Batch, Changes, ChangeStream, Database, Followed, Scan
from estuary_cdk.kits.sql_cdc.resources import TableResource
from estuary_cdk.kits.sql_cdc.rounds import Part, Round, shares
from estuary_cdk.kits.sql_cdc.schemas import sourced_schema
from estuary_cdk.kits.sql_cdc.states import TableState, activated
from estuary_cdk.kits.sql_cdc.tables import Table, TableId

CURSOR: Final = "cursor"
# Which bindings were captured: one that wasn't for a while has missed changes.
CAPTURED: Final = "capturedBindings"
WAIT_S: Final = 1.0
FENCE_TIMEOUT_S: Final = 300.0
NUDGE_AFTER_S: Final = 0.02
IDLE_CHECKPOINT_S: Final = 10.0
CHECK_INTERVAL_S: Final = 600.0
WATCH_S: Final = 5.0
PROGRESS_S: Final = 30.0
CATCH_UP_DOCUMENTS_MAX: Final = 100_000

log = logs.get_logger(__name__)

TableBinding = Binding[TableResource, TableState]


@dataclass(frozen=True, slots=True)
class Options:
    """How a capture goes about its work."""

    source_schema: Mapping[str, Any]
    rediscovery_s: float = 900.0
    skip_backfills: frozenset[str] = frozenset()
    workers: int = 1
    """How many chunks are scanned side by side."""
    until_caught_up: bool = False
    """Whether to end once backfills are done and the changes of before are captured."""
    task_state: Mapping[str, Any] = field(default_factory=dict)
    """What the task's state is to hold beside the position."""

    def skips(self, table: TableId) -> bool:
        """Tell whether a table's backfill is to be skipped."""
        return bool({"*.*", ".".join(table)} & self.skip_backfills)


@dataclass(slots=True)
class Tracked:
    """A binding and where its table stands."""

    binding: TableBinding
    state: TableState
    table: Table | None
    rows: int | None = None
    dirty: bool = field(default=True)
    tell_at: float = 0.0

    def become(self, state: TableState) -> None:
        """Change the state, to be written with the next checkpoint."""
        self.state = state
        self.dirty = True


class Capturing:
    """A running capture of a database."""

    def __init__(
        self,
        pull: Pull[Any, TableResource, TableState],
        database: Database,
        options: Options,
        *,
        anew: bool = False,
    ) -> None:
        self._anew = anew
        self._pull = pull
        self._database = database
        self._options = options
        self._tables: Mapping[TableId, Table] = {}
        self._tracked: dict[TableId, Tracked] = {}
        self._cursor = ""
        self._random = random.Random(0)  # noqa: S311 - spreads the work, keeps no secret
        self._rediscover_at = 0.0
        self._check_at = 0.0
        self._idle_since = 0.0
        self._told = ""
        self._told_captured = False

    async def run(self) -> None:
        """Capture until cancelled; with `until_caught_up` until there is nothing left."""
        logs.status("Verifying capture requirements")
        self._tables = await self._database.discover()
        self._track()
        position = self._resumed()
        async with self._database.stream(position) as stream:
            self._cursor = "" if position is None else stream.position
            self._follow(stream)
            await self._begin(stream)
            await self._rounds(stream)

    def _track(self) -> None:
        for binding in self._pull.bindings:
            table_id = (binding.resource.namespace, binding.resource.stream)
            state = binding.state or TableState()
            if table_id not in self._tables and binding.state is None:
                raise ConfigError(
                    f"can't capture {binding.name!r}: it is a configured binding of this capture, "
                    "but doesn't exist or isn't visible with current permissions"
                )
            self._tracked[table_id] = Tracked(binding, state, self._tables.get(table_id))
        for tracked in self._tracked.values():
            if tracked.table is None:
                self._miss(tracked)
            elif self._interrupted(tracked):
                tracked.become(TableState())

    def _interrupted(self, tracked: Tracked) -> bool:
        """Tell whether changes of a table went by uncaptured since its state was written."""
        assert tracked.table is not None
        raw = self._pull.task_state.get(CAPTURED)
        captured = msgspec.json.decode(raw) if raw is not None else None
        state = tracked.state
        if state.mode in {"Missing", "Ignore"}:
            return True
        known = captured if tracked.binding.state is not None else None
        if isinstance(known, list) and tracked.binding.state_key not in known:
            log.info("a binding is back: it is backfilled", table=tracked.table.name)
            return True
        if state.identity and state.identity != tracked.table.identity:
            log.warning("a table was created again: it is backfilled", table=tracked.table.name)
            return True
        return False

    def _miss(self, tracked: Tracked) -> None:
        log.warning("a table is missing", table=tracked.binding.name)
        tracked.become(TableState(mode="Missing"))

    def _resumed(self) -> str | None:
        """Return the position to resume from, None where everything begins anew."""
        raw = self._pull.task_state.get(CURSOR)
        cursor = msgspec.json.decode(raw) if raw is not None else None
        known = [each.binding for each in self._tracked.values() if each.binding.state is not None]
        if self._anew or not known or not isinstance(cursor, str) or not cursor:
            for tracked in self._tracked.values():
                tracked.become(TableState() if tracked.table else tracked.state)
            return None
        return cursor

    def _follow(self, stream: ChangeStream) -> None:
        followed = {}
        for table_id, tracked in self._tracked.items():
            state = tracked.state
            if tracked.table is None or not (state.backfilling or state.mode == "Active"):
                continue
            precise = state.mode == "Backfill"
            key = state.key_columns if precise else None
            followed[table_id] = Followed(tracked.table, key, tracked.binding.index)
        stream.follow(followed)

    async def _begin(self, stream: ChangeStream) -> None:
        """Say what the tables look like, and persist where we start before anything is captured."""
        async with self._pull.transaction() as transaction:
            for tracked in self._tracked.values():
                await self._tell_schema(transaction, tracked)
            self._checkpoint(transaction, stream, stream.position)
        now = self._pull.clock.monotonic()
        self._check_at = now + CHECK_INTERVAL_S
        self._idle_since = now
        self._plan_rediscovery()
        fence = await stream.fence()
        logs.status("Catching up on CDC history")
        await self._stream_until(stream, fence)
        await self._activate_pending(stream)

    async def _tell_schema(
        self, transaction: Transaction[TableResource, TableState], tracked: Tracked
    ) -> None:
        if tracked.table is not None:
            schema = sourced_schema(tracked.table, self._options.source_schema)
            await transaction.sourced_schema(tracked.binding, schema)

    def _plan_rediscovery(self) -> None:
        wait = self._options.rediscovery_s * self._random.uniform(0.5, 1.5)
        self._rediscover_at = self._pull.clock.monotonic() + wait

    async def _activate_pending(self, stream: ChangeStream) -> None:
        failpoint("sql_cdc.before-backfill")
        for table_id, tracked in self._tracked.items():
            if tracked.state.mode == "Pending" and tracked.table is not None:
                key = tracked.binding.collection.key
                skip = self._options.skips(table_id)
                tracked.become(activated(tracked.binding.resource, tracked.table, key, skip=skip))
                log.info("table activated", table=tracked.table.name, mode=tracked.state.mode)
        counts = await self._database.row_counts(
            [table_id for table_id, each in self._tracked.items() if each.state.backfilling]
        )
        for table_id, tracked in self._tracked.items():
            tracked.rows = counts.get(table_id)
        self._follow(stream)
        if any(each.dirty and each.state.mode == "Active" for each in self._tracked.values()):
            # Only from here on are its changes captured: it must not be activated once more.
            async with self._pull.transaction() as transaction:
                self._checkpoint(transaction, stream, stream.position)

    async def _rounds(self, stream: ChangeStream) -> None:
        while True:
            await self._routine(stream)
            self._tell()
            if backfilling := self._next_backfills():
                await self._backfill(stream, backfilling)
                continue
            failpoint("sql_cdc.after-backfill")
            if self._options.until_caught_up:
                await self._stream_until(stream, await stream.fence())
                if not self._next_backfills():
                    return
                continue
            await self._stream_on(stream)

    def _tell(self) -> None:
        tables = [each for each in self._tracked.values() if each.state.backfilling]
        if not tables:
            text = "Streaming CDC Events"
        else:
            scanned = sum(min(each.state.backfilled, each.rows or 0) for each in tables)
            total = sum(max(each.rows or 0, 1) for each in tables)
            percent = min(99, 100 * scanned // total)
            text = f"Backfilling Tables (backfilled {percent}% of {len(tables)} tables)"
        if text != self._told:
            self._told = text
            logs.status(text)

    def _next_backfills(self) -> list[Tracked]:
        """Return the tables to go on with: as many of the highest priority as there are workers."""
        waiting = [each for each in self._tracked.values() if each.state.backfilling]
        if not waiting:
            return []
        highest = max(each.binding.resource.priority for each in waiting)
        first = [each for each in waiting if each.binding.resource.priority == highest]
        return self._random.sample(first, min(len(first), self._options.workers))

    async def _backfill(self, stream: ChangeStream, tables: Sequence[Tracked]) -> None:
        """Scan chunks, then stream to a fence behind them, in one checkpoint."""
        scans = []
        for tracked, share in zip(tables, shares(len(tables), self._options.workers), strict=True):
            assert tracked.table is not None
            binding = tracked.binding
            scan = Scan(tracked.table, binding.resource, tracked.state, binding.index)
            scans.append(await self._database.chunks(scan, share))
        async with self._pull.transaction() as transaction:
            failpoint("sql_cdc.before-chunk")

            async def take(part: Part) -> None:
                binding = tables[part.index].binding
                await transaction.emit_block(binding, part.block, part.rows)

            states = await Round(self._database, scans).run(take, lambda: self._watch(stream))
            failpoint("sql_cdc.after-chunk")
            for tracked, state in zip(tables, states, strict=True):
                tracked.become(state)
            fence = await stream.fence()
            reached = await self._drain(stream, transaction, fence)
            failpoint("sql_cdc.after-fence")
            self._checkpoint(transaction, stream, reached)
        for tracked in tables:
            self._tell_progress(tracked)
        if not all(tracked.state.backfilling for tracked in tables):
            self._follow(stream)

    async def _watch(self, stream: ChangeStream) -> None:
        """See to it that a scan is given up once it can't be completed by changes any more."""
        while True:
            await self._pull.clock.sleep(WATCH_S)
            await stream.check()

    def _tell_progress(self, tracked: Tracked) -> None:
        rows = tracked.state.backfilled
        if not tracked.state.backfilling:
            log.info("backfill complete", table=tracked.binding.name, rows=rows)
            return
        now = self._pull.clock.monotonic()
        if now >= tracked.tell_at:
            tracked.tell_at = now + PROGRESS_S
            log.info(
                "backfill progress",
                table=tracked.binding.name,
                rows=rows,
                estimated=tracked.rows,
                percent=min(99, 100 * rows // tracked.rows) if tracked.rows else None,
            )

    async def _drain(
        self,
        stream: ChangeStream,
        transaction: Transaction[TableResource, TableState],
        fence: str,
    ) -> str:
        """Emit changes up to a fence and the commit behind it; return the position reached."""
        clock = self._pull.clock
        started = clock.monotonic()
        open_transaction = False
        wait_s = NUDGE_AFTER_S
        while open_transaction or not stream.passed(fence):
            batches = await stream.next(wait_s)
            wait_s = min(WAIT_S, wait_s * 2)
            for batch in batches:
                await self._emit(transaction, batch)
                open_transaction = batch.position is None
            if not batches and not open_transaction:
                if clock.monotonic() - started > FENCE_TIMEOUT_S:
                    raise TransientError(
                        f"can't catch up: the stream didn't reach {fence} "
                        f"within {FENCE_TIMEOUT_S:.0f} seconds"
                    )
                await stream.nudge()
            elif batches:
                started = clock.monotonic()
        return stream.position

    async def _stream_until(self, stream: ChangeStream, fence: str) -> None:
        """Capture changes up to a fence, with checkpoints at commits."""
        started = self._pull.clock.monotonic()
        wait_s = NUDGE_AFTER_S
        while not stream.passed(fence):
            wait_s = min(WAIT_S, wait_s * 2)
            if await self._stream_once(stream, wait_s):
                started = self._pull.clock.monotonic()
            elif not stream.passed(fence):
                if self._pull.clock.monotonic() - started > FENCE_TIMEOUT_S:
                    raise TransientError(
                        f"can't catch up: the stream didn't reach {fence} "
                        f"within {FENCE_TIMEOUT_S:.0f} seconds"
                    )
                await stream.nudge()

    async def _stream_on(self, stream: ChangeStream) -> None:
        """Capture changes until there is something else to do."""
        while self._pull.clock.monotonic() < min(self._rediscover_at, self._check_at):
            await self._stream_once(stream, WAIT_S)
            if self._next_backfills():
                return

    async def _stream_once(self, stream: ChangeStream, timeout_s: float) -> bool:
        """Capture what comes next, if anything does, up to a commit; tell whether it did."""
        batches = await stream.next(timeout_s)
        if not batches:
            await self._checkpoint_idle(stream)
            return False
        async with self._pull.transaction() as transaction:
            while True:
                for batch in batches:
                    await self._emit(transaction, batch)
                    if batch.position is not None:
                        reached = batch.position
                if batches and batches[-1].position is not None:
                    break
                batches = await stream.next(timeout_s)
            self._checkpoint(transaction, stream, reached)
        return True

    async def _checkpoint_idle(self, stream: ChangeStream) -> None:
        """Move on past what isn't for us, so that the database may forget it."""
        now = self._pull.clock.monotonic()
        if now - self._idle_since < IDLE_CHECKPOINT_S or stream.position == self._cursor:
            return
        async with self._pull.transaction() as transaction:
            self._checkpoint(transaction, stream, stream.position)

    async def _emit(
        self, transaction: Transaction[TableResource, TableState], batch: Batch
    ) -> None:
        for changes in batch.changes:
            tracked = self._tracked[changes.table]
            if changes.block:
                block, rows = _wanted_lines(tracked.state, changes)
                await transaction.emit_block(tracked.binding, block, rows)
            elif documents := _wanted(tracked.state, changes, changes.documents):
                await transaction.emit(tracked.binding, documents)
        for table_id in batch.truncated:
            if table_id in self._tracked:
                tracked = self._tracked[table_id]
                # No message of the protocol tells every runtime that all rows are gone, and which
                # keys they had nobody knows any more: so it is left to the user, who is told.
                log.warning(
                    "a table was truncated: it is backfilled again",
                    table=".".join(table_id),
                    remains="rows of before stay in the collection and its destinations",
                    remedy="to remove them, increase the binding's backfill counter",
                )
                logs.status(
                    f"Table {'.'.join(table_id)} was truncated: backfilling it again; its rows of "
                    "before stay in the collection until its backfill counter is increased"
                )
                tracked.become(TableState())
        if batch.altered:
            self._rediscover_at = 0.0

    def _checkpoint(
        self,
        transaction: Transaction[TableResource, TableState],
        stream: ChangeStream,
        position: str,
    ) -> None:
        failpoint("sql_cdc.before-commit")
        for tracked in self._tracked.values():
            if tracked.dirty:
                transaction.checkpoint(tracked.binding, tracked.state)
                tracked.dirty = False
        task: dict[str, Any] = {CURSOR: position} if position != self._cursor else {}
        if not self._told_captured:
            self._told_captured = True
            task[CAPTURED] = [binding.state_key for binding in self._pull.bindings]
            task |= self._options.task_state
        transaction.checkpoint(task=task)
        self._cursor = position
        self._idle_since = self._pull.clock.monotonic()

        def acknowledge() -> None:
            failpoint("sql_cdc.before-acknowledge")
            stream.acknowledge(position)

        transaction.on_acknowledged(acknowledge)

    async def _routine(self, stream: ChangeStream) -> None:
        now = self._pull.clock.monotonic()
        if now >= self._check_at:
            self._check_at = now + CHECK_INTERVAL_S
            await self._database.check()
        if now >= self._rediscover_at:
            await self._rediscover(stream)
        if any(each.state.mode == "Pending" for each in self._tracked.values()):
            await self._activate_pending(stream)

    async def _rediscover(self, stream: ChangeStream) -> None:
        self._tables = await self._database.discover()
        changed: list[Tracked] = []
        for table_id, tracked in self._tracked.items():
            table = self._tables.get(table_id)
            if table is None and tracked.state.mode not in {"Missing", "Ignore"}:
                self._miss(tracked)
            elif table is not None and tracked.state.mode == "Missing":
                log.info("a missing table is back", table=table.name)
                tracked.become(TableState())
            elif table is not None and tracked.state.identity not in {"", table.identity}:
                log.warning("a table was created again: it is backfilled", table=table.name)
                tracked.become(TableState())
            if table is not None and table != tracked.table:
                changed.append(tracked)
            tracked.table = table
        self._plan_rediscovery()
        self._follow(stream)
        if changed:
            async with self._pull.transaction() as transaction:
                for tracked in changed:
                    await self._tell_schema(transaction, tracked)
                self._checkpoint(transaction, stream, stream.position)


def _wanted_lines(state: TableState, changes: Changes) -> tuple[bytes, int]:
    """Return what `_wanted` leaves of a block, and how many rows that is."""
    if state.mode != "Backfill" or changes.keys is None:
        return changes.block, changes.rows
    lines = _wanted(state, changes, changes.block.splitlines(keepends=True))
    return b"".join(lines), len(lines)


def _wanted(state: TableState, changes: Changes, each: Sequence[bytes]) -> Sequence[bytes]:
    """Leave out changes of rows that the scan has yet to reach, in mode Precise."""
    if state.mode != "Backfill" or changes.keys is None:
        return each
    position = state.position
    if position is None:
        return ()
    return [change for change, key in zip(each, changes.keys, strict=True) if key <= position]
