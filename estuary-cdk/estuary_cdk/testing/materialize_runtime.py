"""A runtime for materializations in one process: builds, applies, opens, transacts, kills anywhere.

    runtime = MaterializeRuntime(serving(materialization))
    spec = await runtime.build(config, [BindingModel(collection, resource)])
    async with runtime.session(spec) as session:
        await session.transaction([(0, b'{"id":1}')])

What a runtime keeps in its recovery log is in `Recovery`; it outlives sessions. A transaction does
what Flow does: loads every key, lets the last document of a key win, stores in order of packed
keys, commits checkpoint and state. Every message of either side is judged by the session tables.

A session steps over a boundary before each message it sends and after each it receives, before it
acts on it. `crash` makes it die at the Nth: the connector is cancelled there and `Killed` raised.
"""

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.protocol import materialize as messages
from estuary_cdk.protocol.codec import (
    MATERIALIZE_REQUESTS,
    MATERIALIZE_RESPONSES,
    Codec,
    Run,
    encode_json,
    load_line,
    store_line,
)
from estuary_cdk.protocol.flow import FULL_RANGE, CollectionSpec, ConnectorState, RangeSpec
from estuary_cdk.protocol.materialize import (
    FieldSelection,
    MaterializationBinding,
    MaterializationSpec,
    ValidateBinding,
    Validated,
)
from estuary_cdk.protocol.materialize_session import MaterializeSession
from estuary_cdk.protocol.message import ABSENT, Message, present
from estuary_cdk.protocol.packed import pack_json
from estuary_cdk.protocol.session import Side
from estuary_cdk.testing.selection import selected, state_key
from estuary_cdk.transport import Reader, Writer, pair

PATIENCE_S: Final = 30.0
LOADS_PER_BLOCK: Final = 5_000

Serve = Callable[[Reader, Writer], Awaitable[None]]
MessageT = TypeVar("MessageT", bound=Message)
Documents = Sequence[tuple[int, bytes]]

_REQUESTS: Final = Codec(MATERIALIZE_REQUESTS)
_RESPONSES: Final = Codec(MATERIALIZE_RESPONSES)
_LEVEL: Final = msgspec.json.Decoder(dict[str, Raw])


class Killed(Exception):  # noqa: N818 - asked for, so not an error
    """The session reached the boundary at which it was to die."""


@dataclass(frozen=True, slots=True)
class Crash:
    """Die at the Nth boundary; if `late`, the connector first does all that it was sent."""

    boundary: int
    late: bool = False


@dataclass(frozen=True, slots=True)
class BindingModel:
    """A binding as a catalog asks for it."""

    collection: CollectionSpec
    resource: bytes
    backfill: int = 0
    exclude: frozenset[str] = frozenset()


@dataclass(slots=True)
class Recovery:
    """What a runtime keeps across sessions: state, checkpoint and the spec applied last."""

    state: Any = None
    checkpoint: bytes = b"{}"
    applied: MaterializationSpec | None = None

    def update(self, state: ConnectorState | None) -> bool:
        """Merge or set a state update; tell whether it changed anything."""
        if state is None:
            return False
        before = self.state
        value = msgspec.json.decode(state.updated)
        self.state = patched(before or {}, value) if state.merge_patch else value
        return bool(self.state != before)


def patched(target: Any, patch: Any) -> Any:
    """Return a JSON value after a merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = patched(result.get(name), value)
    return result


class Peer:
    """The runtime's end of one conversation with a connector in this process."""

    def __init__(self, serve: Serve, crash: Crash | None = None) -> None:
        self.requests, self.responses = pair()
        self.steps = 0
        self.transcript: list[str] = []
        self._crash = crash
        self._judge = MaterializeSession(Side.RUNTIME)
        self._ahead: deque[Run] = deque()
        self._serving = asyncio.ensure_future(self._served(serve))

    async def _served(self, serve: Serve) -> None:
        try:
            await serve(self.requests, self.responses)
        except BaseException:
            self.requests.break_off()
            raise
        finally:
            await self.responses.close()

    def _step(self) -> None:
        self.steps += 1
        if self._crash is not None and self.steps == self._crash.boundary:
            raise Killed

    async def send(self, message: Message) -> None:
        """Send one request."""
        await self.send_block(type(message), 1, _REQUESTS.encode(message))

    async def send_block(self, kind: type[Message], count: int, block: bytes) -> None:
        """Send `count` requests of one kind, spelled already."""
        self._step()
        self._judge.request(kind, count)
        self.transcript += [kind.__name__] * min(count, 1)
        try:
            await self.requests.write(block)
        except RemoteProtocolError:
            await self._serving
            raise

    async def receive(self) -> Run:
        """Wait for the next run of responses; raises what ended the connector if it ended."""
        while not self._ahead:
            async with asyncio.timeout(PATIENCE_S):
                block = await self.responses.read()
            if not block:
                await self._serving
                self._judge.responses_end()
                raise RemoteProtocolError("can't read a response: the connector ended")
            self._ahead.extend(_RESPONSES.decode_runs(block))
        kind, run = self._ahead.popleft()
        self._judge.response(kind, len(run))
        self.transcript.append(kind.__name__)
        self._step()
        return kind, run

    async def expect(self, kind: type[MessageT]) -> MessageT:
        """Wait for one response of a kind."""
        found, run = await self.receive()
        if found is not kind or len(run) != 1:
            raise AssertionError(f"expected {kind.__name__}, found {len(run)} {found.__name__}")
        response: MessageT = run[0]
        return response

    async def end(self) -> None:
        """Close our side where that is legal and wait for the connector to end without failing."""
        self._judge.requests_end()
        await self.requests.close()
        while True:
            async with asyncio.timeout(PATIENCE_S):
                block = await self.responses.read()
            if not block:
                break
            for kind, run in _RESPONSES.decode_runs(block):
                self._judge.response(kind, len(run))
        await self._serving
        self._judge.responses_end()

    async def break_off(self) -> None:
        """Close our side wherever we are, and wait; raises what the connector raises."""
        await self.requests.close()
        while await self.responses.read():
            pass
        await self._serving

    async def kill(self) -> None:
        """End the connector where it stands."""
        if self._crash is not None and self._crash.late:
            with suppress(Exception):
                await asyncio.wait_for(self.break_off(), PATIENCE_S)
        self._serving.cancel()
        self.requests.break_off()
        self.responses.break_off()
        with suppress(BaseException):
            await asyncio.wait_for(self._serving, PATIENCE_S)


@dataclass(slots=True)
class _Row:
    """The latest document of a key in a transaction."""

    binding: int
    packed: bytes
    key: bytes
    document: bytes
    exists: bool = False


class Session:
    """An open session; see the module's text for what a transaction is."""

    def __init__(
        self, peer: Peer, spec: MaterializationSpec, recovery: Recovery, *, packed_only: bool
    ) -> None:
        self.peer = peer
        self.loaded: dict[tuple[int, bytes], bytes] = {}
        """Documents the last transaction loaded, by binding and key text."""
        self.opened = messages.Opened()
        self._spec = spec
        self._recovery = recovery
        self._packed_only = packed_only
        self._fields = [_pointers(binding) for binding in spec.bindings]
        self._committed: ConnectorState | None = None

    async def open(self, range_spec: RangeSpec) -> None:
        """Open, and resume from the checkpoint the connector returns if it returns one."""
        state = Raw(encode_json(self._recovery.state or {}))
        await self.peer.send(
            messages.Open(materialization=self._spec, version="1", range=range_spec, state=state)
        )
        self.opened = await self.peer.expect(messages.Opened)
        if present(self.opened.runtime_checkpoint):
            self._recovery.checkpoint = bytes(self.opened.runtime_checkpoint)
        await self.peer.send(messages.Acknowledge())

    async def transaction(self, documents: Documents, checkpoint: bytes = b"{}") -> None:
        """Run one transaction, then send the acknowledge that starts the next."""
        rows = self._combined(documents)
        await self.load(rows.values())
        await self.peer.send(messages.Flush())
        self.loaded = await self._collect(rows)
        for row in sorted(rows.values(), key=lambda row: (row.binding, row.packed)):
            line = self._store(row)
            await self.peer.send_block(messages.Store, 1, line)
        await self.commit(checkpoint)

    async def bulk(self, documents: Documents, checkpoint: bytes = b"{}") -> None:
        """Run one transaction with its stores in one block."""
        rows = self._combined(documents)
        await self.load(rows.values())
        await self.peer.send(messages.Flush())
        self.loaded = await self._collect(rows)
        ordered = sorted(rows.values(), key=lambda row: (row.binding, row.packed))
        if ordered:
            lines = b"".join([self._store(row) for row in ordered])
            await self.peer.send_block(messages.Store, len(ordered), lines)
        await self.commit(checkpoint)

    async def commit(self, checkpoint: bytes) -> None:
        """Commit, make durable what came with it, and acknowledge."""
        await self.peer.send(messages.StartCommit(runtime_checkpoint=Raw(checkpoint)))
        started = await self.peer.expect(messages.StartedCommit)
        self._recovery.update(started.state)
        self._recovery.checkpoint = checkpoint
        await self.peer.send(messages.Acknowledge())

    async def load(self, rows: Iterable[_Row]) -> None:
        """Send the loads of a transaction while waiting for Acknowledged."""
        standard = [row for row in rows if not self._spec.bindings[row.binding].delta_updates]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._send_loads(standard))
                acknowledged = await self.peer.expect(messages.Acknowledged)
                self._recovery.update(acknowledged.state)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed

    async def _send_loads(self, rows: Sequence[_Row]) -> None:
        for start in range(0, len(rows), LOADS_PER_BLOCK):
            part = rows[start : start + LOADS_PER_BLOCK]
            lines = [self._load(row) for row in part]
            await self.peer.send_block(messages.Load, len(lines), b"".join(lines))

    async def _collect(self, rows: Mapping[tuple[int, bytes], _Row]) -> dict[Any, bytes]:
        loaded: dict[tuple[int, bytes], bytes] = {}
        while True:
            kind, run = await self.peer.receive()
            if kind is messages.Flushed:
                self._recovery.update(run[0].state)
                return loaded
            for each in run:
                document = bytes(each.doc)
                key = extracted(document, self._fields[each.binding][0])
                row = rows.get((each.binding, key))
                if row is None or row.exists:
                    raise AssertionError(f"document was not asked for: {document!r}")
                row.exists = True
                loaded[each.binding, key] = document

    def _combined(self, documents: Documents) -> dict[tuple[int, bytes], _Row]:
        rows = {}
        for binding, document in documents:
            items = items_at(document, self._fields[binding][0])
            key = b"[" + b",".join(items) + b"]"
            rows[binding, key] = _Row(binding, pack_json(items), key, document)
        return rows

    def _load(self, row: _Row) -> bytes:
        packed = base64.b64encode(row.packed)
        if self._packed_only:
            return _REQUESTS.encode(messages.Load(binding=row.binding, key_packed=packed.decode()))
        return load_line(row.binding, row.key, packed)

    def _store(self, row: _Row) -> bytes:
        binding = self._spec.bindings[row.binding]
        items = items_at(row.document, self._fields[row.binding][1])
        packed = base64.b64encode(row.packed)
        deleted = items_at(row.document, ["/_meta/op"]) == [b'"d"']
        document = row.document if binding.field_selection.document else None
        if self._packed_only:
            return _REQUESTS.encode(
                messages.Store(
                    binding=row.binding,
                    key_packed=packed.decode(),
                    values_packed=base64.b64encode(pack_json(items)).decode(),
                    doc=ABSENT if document is None else Raw(document),
                    exists=row.exists,
                    delete=deleted,
                )
            )
        values = b"[" + b",".join(items) + b"]"
        return store_line(
            row.binding, row.key, packed, values, document, exists=row.exists, delete=deleted
        )


class MaterializeRuntime:
    """Asks one connector what a runtime asks, and keeps what a runtime keeps."""

    def __init__(
        self, serve: Serve, recovery: Recovery | None = None, *, packed_only: bool = False
    ) -> None:
        self.recovery = Recovery() if recovery is None else recovery
        self._serve = serve
        self._packed_only = packed_only

    @asynccontextmanager
    async def conversation(self, crash: Crash | None = None) -> AsyncIterator[Peer]:
        """Start a connector; whatever is left of it in the end is killed."""
        peer = Peer(self._serve, crash)
        try:
            yield peer
        finally:
            await peer.kill()

    async def _asked(self, request: Message, kind: type[MessageT]) -> MessageT:
        async with self.conversation() as peer:
            await peer.send(request)
            response = await peer.expect(kind)
            await peer.end()
        return response

    async def spec(self) -> messages.SpecResponse:
        """Ask what the connector is."""
        return await self._asked(messages.Spec(), messages.SpecResponse)

    async def validate(self, config: bytes, models: Sequence[BindingModel]) -> Validated:
        """Ask for the constraints of bindings."""
        request = messages.Validate(
            name="acme/task",
            config=Raw(config),
            bindings=[
                ValidateBinding(
                    resource_config=Raw(model.resource),
                    collection=model.collection,
                    backfill=model.backfill,
                )
                for model in models
            ],
            last_materialization=self.recovery.applied,
        )
        return await self._asked(request, Validated)

    async def build(
        self, config: bytes, models: Sequence[BindingModel], name: str = "acme/task"
    ) -> MaterializationSpec:
        """Validate, and select every field that may be selected."""
        validated = await self.validate(config, models)
        pairs = zip(models, validated.bindings, strict=True)
        return MaterializationSpec(
            name=name,
            config=Raw(config),
            bindings=[
                MaterializationBinding(
                    resource_config=Raw(model.resource),
                    resource_path=answer.resource_path,
                    collection=model.collection,
                    field_selection=_without(selected(model.collection, answer), model.exclude),
                    delta_updates=answer.delta_updates,
                    backfill=model.backfill,
                    state_key=state_key(answer.resource_path, model.backfill),
                )
                for model, answer in pairs
            ],
        )

    async def apply(self, spec: MaterializationSpec) -> list[str]:
        """Apply until no state update comes back; return the descriptions of all that was done."""
        descriptions: list[str] = []
        for _ in range(10):
            request = messages.Apply(
                materialization=spec,
                version="1",
                last_materialization=self.recovery.applied,
                state=Raw(encode_json(self.recovery.state or {})),
            )
            applied = await self._asked(request, messages.Applied)
            descriptions += applied.action_description.splitlines()
            if applied.state is None:
                self.recovery.applied = spec
                return descriptions
            assert self.recovery.update(applied.state), "a state update that changes nothing"
        raise AssertionError("apply doesn't come to an end")

    @asynccontextmanager
    async def session(
        self,
        spec: MaterializationSpec,
        *,
        crash: Crash | None = None,
        range_spec: RangeSpec = FULL_RANGE,
    ) -> AsyncIterator[Session]:
        """Open a session; it ends properly if the block does, and is killed otherwise."""
        async with self.conversation(crash) as peer:
            session = Session(peer, spec, self.recovery, packed_only=self._packed_only)
            await session.open(range_spec)
            yield session
            await session.load([])
            await peer.end()


def _without(selection: FieldSelection, excluded: frozenset[str]) -> FieldSelection:
    values = [name for name in selection.values if name not in excluded]
    return msgspec.structs.replace(selection, values=values)


def _pointers(binding: MaterializationBinding) -> tuple[list[str], list[str]]:
    assert binding.collection is not None
    pointers = {each.field: each.ptr for each in binding.collection.projections}
    selection = binding.field_selection
    return (
        [pointers[name] for name in selection.keys],
        [pointers[name] for name in selection.values],
    )


def items_at(document: bytes, pointers: Sequence[str]) -> list[bytes]:
    """Return the JSON text at each pointer, `null` where nothing is."""
    root = _LEVEL.decode(document)
    return [_item(root, pointer) for pointer in pointers]


def extracted(document: bytes, pointers: Sequence[str]) -> bytes:
    """Return the JSON array text of what is at the pointers."""
    return b"[" + b",".join(items_at(document, pointers)) + b"]"


def _item(root: dict[str, Raw], pointer: str) -> bytes:
    level = root
    *above, last = [p.replace("~1", "/").replace("~0", "~") for p in pointer.split("/")[1:]]
    for part in above:
        raw = bytes(level.get(part, Raw(b"null")))
        if not raw.startswith(b"{"):
            return b"null"
        level = _LEVEL.decode(raw)
    return bytes(level.get(last, Raw(b"null")))
