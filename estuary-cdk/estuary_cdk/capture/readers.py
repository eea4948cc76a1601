"""How each kind of stream is read, for good: what is next, what is committed, when to go on.

Each of these functions runs until it is cancelled. State moves by merge patches that touch nothing
but what the function owns, so that history and tail of one binding can commit beside each other.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Final, TypeVar

from estuary_cdk.capture import snapshots, windows
from estuary_cdk.capture.emission import Emission
from estuary_cdk.capture.positions import VERSION, spelled
from estuary_cdk.capture.reading import Reading, block, closing
from estuary_cdk.capture.retrying import persevere
from estuary_cdk.capture.snapshots import NOTHING, Taken
from estuary_cdk.capture.streams import Checkpoint, Log, Paged, Snapshot, Windowed
from estuary_cdk.document import encoded
from estuary_cdk.errors import ContractError
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol.codec import one_line

ClientT = TypeVar("ClientT")

log = get_logger(__name__)

SPOOL_BYTES: Final = 8 << 20
SPOOL_BLOCK_BYTES: Final = 256 << 10


def _begun(reading: Reading[Any], **parts: Any) -> dict[str, Any]:
    """Return the patch that starts a stream's state."""
    return {"version": VERSION, "started_at": spelled(reading.now()), **parts}


async def read_snapshots(reading: Reading[ClientT], stream: Snapshot[ClientT]) -> None:
    """Take a snapshot whenever it is due, and emit it when it changed."""
    emission = reading.emission()
    part = reading.state.snapshot
    before = part.taken() if part else NOTHING
    if part is None:
        reading.backfilling(now=True)
    elif part.digest:
        await reading.sleep_until(reading.again_at(part.taken_at))

    async def attempt() -> None:
        nonlocal before
        emission.discard()
        before = await _take(reading, stream, before, emission)

    while True:
        at = reading.now()
        await persevere(attempt, reading.pull.clock, lambda: emission.commits)
        reading.backfilling(now=False)
        await reading.sleep_until(reading.again_at(at))


async def _take(
    reading: Reading[ClientT], stream: Snapshot[ClientT], before: Taken, emission: Emission
) -> Taken:
    """Take one snapshot and commit it; returns what is known of it."""
    counter = snapshots.Counter()
    with SpooledTemporaryFile(SPOOL_BYTES) as spool:
        async with closing(stream.read(reading.client)) as items:
            async for yielded in items:
                rows = [one_line(encoded(item)) for item in block(yielded)]
                counter.add(rows)
                spool.writelines(row + b"\n" for row in rows)
        after = counter.taken()
        if snapshots.changed(before, after):
            await emission.commit(_snapshot_patch(reading, snapshots.under_way(before, after)))
            await _emit(spool, before, emission)
            gone = list(snapshots.tombstones(before, after, stream.tombstone))
            await emission.add_documents(gone)
    await emission.commit(_snapshot_patch(reading, after))
    return after


async def _emit(spool: IO[bytes], before: Taken, emission: Emission) -> None:
    spool.seek(0)
    first = 0
    while lines := spool.readlines(SPOOL_BLOCK_BYTES):
        rows = [line[:-1] for line in lines]
        await emission.add_documents(snapshots.documents(before, rows, first))
        first += len(rows)


def _snapshot_patch(reading: Reading[Any], taken: Taken) -> dict[str, Any]:
    at = spelled(reading.now())
    return {
        "version": VERSION,
        "snapshot": {"taken_at": at, "count": taken.count, "digest": taken.digest},
    }


async def read_windows(reading: Reading[ClientT], stream: Windowed[ClientT]) -> None:
    """Read the tail for good, and history beside it."""
    part = reading.state.windows
    if part is None:
        progress = windows.beginning(stream.cut, reading.now())
        begun = _begun(reading, windows=_windows_patch(progress, "history", "cutoff", "tail"))
        await reading.emission().commit(begun)
    else:
        progress = part.progress()
    following = _Windows(reading, stream, progress)
    reading.spawn(following.read_history())
    await following.read_tail()


def _windows_patch(progress: windows.Progress, *names: str) -> dict[str, str]:
    return {name: spelled(getattr(progress, name)) for name in names}


class _Windows:
    """The two ways in which a windowed stream is read, and their progress."""

    def __init__(
        self, reading: Reading[Any], stream: Windowed[Any], progress: windows.Progress
    ) -> None:
        self._reading = reading
        self._stream = stream
        self._cut = stream.cut
        self._progress = progress

    async def read_history(self) -> None:
        reading, emission = self._reading, self._reading.emission()
        last = reading.state.started_at or reading.now()
        while True:
            while window := windows.history_window(self._cut, self._progress):
                reading.backfilling(now=True)
                await self._read(emission, window, "history")
            reading.backfilling(now=False)
            restart = reading.restart_at(last)
            if restart is None:
                return
            await reading.sleep_until(restart)
            last = reading.now()
            self._progress = windows.restarted(self._cut, self._progress)
            patch = _windows_patch(self._progress, "history", "cutoff")
            await emission.commit({"started_at": spelled(last), "windows": patch})

    async def read_tail(self) -> None:
        reading, emission = self._reading, self._reading.emission()
        while True:
            while window := windows.tail_window(self._cut, self._progress, reading.now()):
                await self._read(emission, window, "tail")
            due = windows.tail_due(self._cut, self._progress)
            await reading.sleep_until(max(due, reading.now() + reading.interval))

    async def _read(self, emission: Emission, window: windows.Window, side: str) -> None:
        async def attempt() -> None:
            emission.discard()
            async with closing(self._stream.read(self._reading.client, window)) as items:
                async for yielded in items:
                    await emission.add(block(yielded))
            await emission.commit({"windows": {side: spelled(window.end)}})
            self._progress = replace(self._progress, **{side: window.end})

        await persevere(attempt, self._reading.pull.clock, lambda: emission.commits)


async def read_log(reading: Reading[ClientT], stream: Log[ClientT, Any]) -> None:
    """Read from position to position; from the start again when the schedule says so."""
    state = reading.state
    following = _Positions(reading, stream)
    started = state.started_at
    if state.log is not None:
        following.resume(state.log.position)
    if started is None:
        started = reading.now()
        await following.restart()
    while True:
        await persevere(following.read, reading.pull.clock, lambda: following.emission.commits)
        restart = reading.restart_at(started)
        if restart is not None and restart <= reading.now():
            started = reading.now()
            await following.restart()
        elif following.caught_up:
            until = reading.now() + reading.interval
            await reading.sleep_until(min(until, restart or until))


class _Positions:
    """The position of a log, and how it moves."""

    def __init__(self, reading: Reading[Any], stream: Log[Any, Any]) -> None:
        self.emission = reading.emission()
        self.caught_up = False
        self._reading = reading
        self._stream = stream
        self._position: Any = stream.start

    def resume(self, kept: int | str) -> None:
        """Go on from a position as it was kept."""
        kind = type(self._stream.start)
        position: Any = kept
        if kind is datetime:
            with suppress(ValueError, TypeError):
                position = datetime.fromisoformat(str(kept))
        if type(position) is not kind:
            raise ContractError(
                f"can't resume stream {self._stream.name!r}: it stopped at {kept!r}, which is "
                f"no {kind.__name__}",
                hint="increase the binding's backfill counter to start over",
            )
        self._position = position

    async def restart(self) -> None:
        """Go back to the start."""
        self._position = self._stream.start
        self.caught_up = False
        kept = {"position": _kept(self._position)}
        await self.emission.commit(_begun(self._reading, log=kept))

    async def read(self) -> None:
        """Read what comes after the position, once."""
        self.emission.discard()
        self.caught_up = True
        open_end = False
        async with closing(self._stream.read(self._reading.client, self._position)) as items:
            async for yielded in items:
                if isinstance(yielded, Checkpoint):
                    await self._move(yielded.position)
                    open_end = self.caught_up = False
                elif documents := block(yielded):
                    await self.emission.add(documents)
                    open_end = True
        if open_end:
            raise ContractError(
                f"can't checkpoint stream {self._stream.name!r}: documents followed the last "
                f"Checkpoint",
                hint="yield a Checkpoint after the documents it covers",
            )

    async def _move(self, position: Any) -> None:
        last = self._position
        if type(position) is not type(last) or position <= last:
            raise ContractError(
                f"can't checkpoint stream {self._stream.name!r}: "
                f"its position went from {last!r} to {position!r}",
                hint="positions must increase",
                stream=self._stream.name,
            )
        await self.emission.commit({"log": {"position": _kept(position)}})
        self._position = position


def _kept(position: int | str | datetime) -> int | str:
    return spelled(position) if isinstance(position, datetime) else position


async def read_pages(reading: Reading[ClientT], stream: Paged[ClientT]) -> None:
    """Read page after page; from the first again when the listing is complete and it is time."""
    emission = reading.emission()
    part = reading.state.pages
    token = part.token if part else None
    complete_at = part.complete_at if part else None
    if token is None and complete_at is not None:
        await reading.sleep_until(reading.again_at(complete_at))
    reading.backfilling(now=complete_at is None)
    while True:
        turned: list[tuple[str | None, bool]] = []
        turn = partial(_turn, reading, stream, token, emission, turned)
        await persevere(turn, reading.pull.clock, lambda: emission.commits)
        [(token, rest)] = turned
        if rest:
            reading.backfilling(now=False)
            now = reading.now()
            pause = reading.again_at(now) if token is None else now + reading.interval
            await reading.sleep_until(pause)


async def _turn(
    reading: Reading[ClientT],
    stream: Paged[ClientT],
    token: str | None,
    emission: Emission,
    turned: list[tuple[str | None, bool]],
) -> None:
    """Read and commit one page; adds the next token, and whether to rest before it."""
    emission.discard()
    batch = await stream.read(reading.client, token)
    if batch.next is not None and batch.next == token and not batch.caught_up:
        raise ContractError(
            f"can't go on in stream {stream.name!r}: the page after {token!r} is itself"
        )
    await emission.add(list(batch.documents))
    rest = batch.next is None or batch.caught_up
    pages: dict[str, Any] = {"token": batch.next}
    if rest:
        pages["complete_at"] = spelled(reading.now())
    await emission.commit({"version": VERSION, "pages": pages})
    turned.append((batch.next, rest))
