"""What a materialization promises of crashes, zombies and splits: as if none had happened."""

from typing import Final

from msgspec import Raw

from estuary_cdk.errors import Fenced, ProtocolError
from estuary_cdk.protocol.codec import store_line
from estuary_cdk.protocol.flow import FULL_RANGE, RangeSpec
from estuary_cdk.protocol.materialize import (
    Acknowledge,
    Acknowledged,
    Flush,
    Flushed,
    MaterializationSpec,
    Open,
    Opened,
    StartCommit,
    StartedCommit,
    Store,
)
from estuary_cdk.testing.materialize_runtime import Crash, Documents, Killed, Peer, Recovery
from estuary_cdk.testing.materialize_subject import (
    USERS,
    Promise,
    Subject,
    checkpoint,
    deleted,
    number_of,
    require_documents,
    user,
)

BOUNDARIES_MAX: Final = 500
RECOVERY_BOUNDARIES: Final = 7


def _log(key: int, name: str) -> tuple[int, bytes]:
    return 1, user(key, name)[1]


SCRIPT: Final[tuple[Documents, ...]] = (
    (user(1), user(2), user(3), _log(1, "a")),
    (user(1, "ann"), deleted(2), _log(2, "b"), _log(3, "c")),
    (),
    (user(2, "back"), deleted(3), user(4), _log(1, "d")),
)


async def survives_crashes(subject: Subject) -> None:
    """Killed at any message, and again while it recovers, it ends where it would have ended."""
    for boundary in range(1, BOUNDARIES_MAX):
        complete = [await survives(subject, Crash(boundary, late)) for late in (False, True)]
        if all(complete):
            return
    raise AssertionError(f"a session has more than {BOUNDARIES_MAX} messages")


async def survives(subject: Subject, crash: Crash) -> bool:
    """Crash at one message and recover, in tables of its own.

    It tells whether the script ended before the crash. For destinations at which all messages would
    take too long.
    """
    name = f"crash_{crash.boundary}_{'late' if crash.late else 'early'}"
    tables = (name, f"{name}_log")
    recovery = Recovery()
    runtime = subject.runtime(recovery)
    standard = subject.model(USERS, tables[0])
    delta = subject.model(USERS, tables[1], delta_updates=True)
    spec = await runtime.build(subject.config, [standard, delta], name=f"acme/{name}")
    await runtime.apply(spec)
    complete = await _ran(subject, spec, recovery, crash)
    if not complete:
        again = crash.boundary % RECOVERY_BOUNDARIES + 1
        await _ran(subject, spec, recovery, Crash(again, crash.late))
        assert await _ran(subject, spec, recovery)
    _require_outcome(subject, tables)
    return complete


async def _ran(
    subject: Subject, spec: MaterializationSpec, recovery: Recovery, crash: Crash | None = None
) -> bool:
    """Run what is left of the script; tell whether it came to its end."""
    try:
        async with subject.runtime(recovery).session(spec, crash=crash) as session:
            done = number_of(recovery.checkpoint)
            for number, documents in enumerate(SCRIPT[done:], done + 1):
                await session.bulk(documents, checkpoint(number))
    except Killed:
        return False
    return True


def _require_outcome(subject: Subject, tables: tuple[str, str]) -> None:
    gone = [] if subject.hard_deletes else [deleted(3)]
    require_documents(subject, tables[0], [user(1, "ann"), user(2, "back"), *gone, user(4)])
    names = sorted(row["name"] for row in subject.rows(tables[1]))
    once = names if subject.exactly_once else sorted(set(names))
    assert once == ["a", "b", "c", "d"], names


async def rolls_back_broken_transactions(subject: Subject) -> None:
    """When the runtime goes away in a transaction, the connector fails and nothing is kept."""
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, "users"))
    values_count = len(spec.bindings[0].field_selection.values)
    failed = False
    async with runtime.conversation() as peer:
        await peer.send(Open(materialization=spec, range=FULL_RANGE))
        await peer.expect(Opened)
        await peer.send(Acknowledge())
        await peer.expect(Acknowledged)
        await peer.send(Flush())
        await peer.expect(Flushed)
        await peer.send_block(Store, 1, _store_line(values_count))
        try:
            await peer.break_off()
        except* ProtocolError:
            failed = True
    assert failed, "the connector ended as if nothing were missing"
    if subject.exactly_once:
        require_documents(subject, "users", [])


async def shuts_out_zombies(subject: Subject) -> None:
    """An instance that was replaced can't commit any more, and the new one resumes in its place."""
    if not subject.fences:
        return
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, "users"))
    async with runtime.session(spec) as session:
        await session.transaction([user(1)], checkpoint(1))
    async with subject.runtime().conversation() as zombie:
        await zombie.send(Open(materialization=spec, range=FULL_RANGE))
        await zombie.expect(Opened)
        await zombie.send(Acknowledge())
        await zombie.expect(Acknowledged)
        successor = subject.runtime()
        values_count = len(spec.bindings[0].field_selection.values)
        async with successor.session(spec) as session:
            assert number_of(successor.recovery.checkpoint) == 1
            await session.transaction([user(2)], checkpoint(2))
            assert await _is_fenced(zombie, values_count), "a zombie committed"
            await session.transaction([user(3)], checkpoint(3))
    require_documents(subject, "users", [user(1), user(2), user(3)])


def _store_line(values_count: int) -> bytes:
    values = b"[" + b",".join([b"null"] * values_count) + b"]"
    return store_line(0, b"[9]", b"", values, b'{"id":9}', exists=False, delete=False)


async def _is_fenced(zombie: Peer, values_count: int) -> bool:
    """Let a zombie store and commit; tell whether it ended because it is fenced."""
    await zombie.send(Flush())
    await zombie.expect(Flushed)
    await zombie.send_block(Store, 1, _store_line(values_count))
    await zombie.send(StartCommit(runtime_checkpoint=Raw(checkpoint(9))))
    fenced = False
    try:
        await zombie.expect(StartedCommit)
    except* Fenced:
        fenced = True
    return fenced


async def splits_ranges(subject: Subject) -> None:
    """The children of a split shard resume from its checkpoint, and shut it out."""
    if not subject.fences:
        return
    runtime = subject.runtime()
    spec = await subject.ready(runtime, subject.model(USERS, "users"))
    async with runtime.session(spec) as session:
        await session.transaction([user(1)], checkpoint(7))
    low, high = subject.runtime(), subject.runtime()
    middle = 0x7FFFFFFF
    async with (
        low.session(spec, range_spec=RangeSpec(key_end=middle)) as first,
        high.session(spec, range_spec=RangeSpec(key_begin=middle + 1, key_end=0xFFFFFFFF)) as last,
    ):
        assert number_of(low.recovery.checkpoint) == number_of(high.recovery.checkpoint) == 7
        await first.transaction([user(2)], checkpoint(8))
        await last.transaction([user(3)], checkpoint(9))
    require_documents(subject, "users", [user(1), user(2), user(3)])


CRASHES: Final[tuple[Promise, ...]] = (
    survives_crashes,
    rolls_back_broken_transactions,
    shuts_out_zombies,
    splits_ranges,
)
