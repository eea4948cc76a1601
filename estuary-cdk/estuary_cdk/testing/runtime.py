"""A runtime for captures in one process: asks, opens, takes what comes, stops or kills anywhere.

    runtime = CaptureRuntime(capture.serve)
    built = await runtime.build({"address": "..."})
    session = await runtime.run(built, until=after_checkpoints(3))
    resumed = await runtime.run(built, state=session.state)

Every message of either side is judged by the session tables, so a capture that passes here speaks
the protocol. What was written after the last checkpoint is kept apart: it was never committed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from msgspec import Raw

from estuary_cdk.capture.state import merged
from estuary_cdk.errors import RemoteProtocolError
from estuary_cdk.protocol import capture as messages
from estuary_cdk.protocol.capture_session import CaptureSession
from estuary_cdk.protocol.codec import CAPTURE_REQUESTS, CAPTURE_RESPONSES, Codec, encode_json
from estuary_cdk.protocol.flow import FULL_RANGE, CollectionSpec, RangeSpec
from estuary_cdk.protocol.message import Message, present
from estuary_cdk.protocol.session import Side
from estuary_cdk.transport import Reader, Writer, pair

PATIENCE_S: Final = 10.0

Serve = Callable[[Reader, Writer], Awaitable[None]]


@dataclass(slots=True)
class Session:
    """What a capture sent in one session.

    `documents` are the committed ones, as (binding, JSON text), in order of emission;
    `states[i]` is the whole state after checkpoint i, `state` after the last. `discarded` counts
    documents after the last checkpoint. `transcript` holds the kinds of messages in order.
    """

    state: dict[str, Any]
    documents: list[tuple[int, bytes]] = field(default_factory=list)
    schemas: list[tuple[int, bytes]] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    transcript: list[str] = field(default_factory=list)
    discarded: int = 0
    ended: bool = False
    """Whether the capture ended by itself."""

    @property
    def checkpoints(self) -> int:
        """Checkpoints received."""
        return len(self.states)

    def of(self, binding: int) -> list[Any]:
        """Return one binding's committed documents, decoded."""
        return [msgspec.json.decode(doc) for index, doc in self.documents if index == binding]


Until = Callable[[Session], bool]
Lasting = Callable[[], Awaitable[None]]


def never(_: Session) -> bool:
    """Let the capture go on until it ends."""
    return False


def after_checkpoints(count: int) -> Until:
    """Stop once there are this many checkpoints."""
    return lambda session: session.checkpoints >= count


def after_messages(count: int) -> Until:
    """Stop once there are this many messages, `opened` included."""
    return lambda session: len(session.transcript) >= count


class CaptureRuntime:
    """Talks to captures made by `serve`, each conversation with a new one.

    With `acknowledge`, checkpoints are acknowledged as they arrive, if the capture asked for that.
    `sessions` keeps every session, also those that failed.
    """

    def __init__(self, serve: Serve, *, acknowledge: bool = True) -> None:
        self._serve = serve
        self._acknowledge = acknowledge
        self.sessions: list[Session] = []

    async def ask(self, *requests: messages.Request) -> list[Any]:
        """Ask unary requests of one process and return its answers; raises what it fails with."""
        conversation = _Conversation(self._serve)
        answers: list[Any] = []
        try:
            for request in requests:
                await conversation.send(request)
                async for answer in conversation.responses():
                    answers.append(answer)
                    break
            await conversation.end()
            await conversation.ended()
        finally:
            await conversation.kill()
        return answers

    async def spec(self) -> messages.SpecResponse:
        """Ask what the connector is."""
        [answer] = await self.ask(messages.Spec())
        return answer  # type: ignore[no-any-return]  # its type is judged by the session

    async def discover(self, config: Mapping[str, Any]) -> list[messages.DiscoveredBinding]:
        """Ask what there is to capture."""
        [answer] = await self.ask(messages.Discover(config=Raw(encode_json(config))))
        return answer.bindings  # type: ignore[no-any-return]  # as above

    async def build(
        self, config: Mapping[str, Any], *, only: Sequence[str] = (), backfill: int = 0
    ) -> messages.CaptureSpec:
        """Discover, validate and build a capture of all resources or those with `only` names."""
        found = [
            each
            for each in await self.discover(config)
            if not only or each.recommended_name in only
        ]
        bindings = [
            messages.CaptureBinding(
                resource_config=each.resource_config,
                collection=CollectionSpec(
                    name=f"acme/{each.recommended_name}",
                    write_schema=each.document_schema,
                    key=each.key,
                    uuid_ptr="/_meta/uuid",
                ),
                backfill=backfill,
            )
            for each in found
        ]
        raw = Raw(encode_json(config))
        built = messages.CaptureSpec(
            name="acme/capture", connector_type="LOCAL", config=raw, bindings=bindings
        )
        return await self.validate(built)

    async def validate(self, built: messages.CaptureSpec) -> messages.CaptureSpec:
        """Validate a capture and return it with its resource paths and state keys."""
        request = messages.Validate(
            name=built.name,
            config=built.config,
            bindings=[
                messages.ValidateBinding(
                    resource_config=binding.resource_config,
                    collection=binding.collection,
                    backfill=binding.backfill,
                )
                for binding in built.bindings
            ],
        )
        [answer] = await self.ask(request)
        validated: list[messages.ValidatedBinding] = answer.bindings
        return msgspec.structs.replace(
            built,
            bindings=[
                msgspec.structs.replace(
                    binding,
                    resource_path=path.resource_path,
                    state_key=_state_key(path.resource_path, binding.backfill),
                )
                for binding, path in zip(built.bindings, validated, strict=True)
            ],
        )

    async def apply(self, built: messages.CaptureSpec) -> messages.Applied:
        """Apply a built capture."""
        [answer] = await self.ask(messages.Apply(capture=built, version="1"))
        return answer  # type: ignore[no-any-return]  # as above

    async def run(
        self,
        built: messages.CaptureSpec,
        *,
        state: Mapping[str, Any] | None = None,
        until: Until = never,
        lasting: Lasting | None = None,
        kill: bool = False,
        key_range: RangeSpec = FULL_RANGE,
    ) -> Session:
        """Open a capture and take what it sends until it ends, or is told to stop.

        It is stopped when `until`, asked after each message, says so, or when `lasting` returns:
        for captures that never end by themselves, with a FakeClock, `lambda: clock.sleep(3600)`.
        The end of requests stops it and whatever it still commits is taken; with `kill`, `until`
        breaks it off right there. Raises what the capture fails with.
        """
        conversation = _Conversation(self._serve)
        session = Session(state=dict(state or {}))
        self.sessions.append(session)
        opening = messages.Open(
            capture=built, version="1", range=key_range, state=Raw(encode_json(session.state))
        )
        try:
            await conversation.send(opening)
            if lasting is not None:
                conversation.end_after(lasting)
            await self._take(conversation, session, until, kill=kill)
            if not kill or session.ended:
                await conversation.ended()
        finally:
            await conversation.kill()
        return session

    async def _take(
        self, conversation: "_Conversation", session: Session, until: Until, *, kill: bool
    ) -> None:
        pending: list[tuple[int, bytes]] = []
        schemas: list[tuple[int, bytes]] = []
        stopping = False
        async for message in conversation.responses():
            session.transcript.append(type(message).__name__)
            match message:
                case messages.Captured():
                    pending.append((message.binding, bytes(message.doc)))
                case messages.SourcedSchema():
                    schemas.append((message.binding, bytes(message.document_schema)))
                case messages.Checkpoint():
                    _commit(session, message, pending, schemas)
                    pending, schemas = [], []
                    await self._confirm(conversation)
            session.discarded = len(pending)
            if not stopping and until(session):
                if kill:
                    return
                stopping = True
                await conversation.end()
        session.ended = not conversation.closed
        session.discarded = len(pending)

    async def _confirm(self, conversation: "_Conversation") -> None:
        if self._acknowledge and conversation.acknowledgements and not conversation.closed:
            await conversation.send(messages.Acknowledge(checkpoints=1))


def _commit(
    session: Session,
    checkpoint: messages.Checkpoint,
    documents: list[tuple[int, bytes]],
    schemas: list[tuple[int, bytes]],
) -> None:
    session.documents += documents
    session.schemas += schemas
    session.sizes.append(len(documents))
    update = checkpoint.state
    if update is not None and present(update.updated):
        value = msgspec.json.decode(update.updated)
        before = msgspec.json.decode(encode_json(session.state))
        session.state = merged(before, value) if update.merge_patch else value
    session.states.append(session.state)


def _state_key(path: Sequence[str], backfill: int) -> str:
    joined = "".join(
        char if char.isalnum() or char in "-_+.=" else "".join(f"%{b:02X}" for b in char.encode())
        for char in "/".join(path)
    )
    return f"{joined}.v{backfill}" if backfill else joined


class _Conversation:
    """One conversation over memory, with one connector's task."""

    def __init__(self, serve: Serve) -> None:
        self._requests, self._responses = pair()
        self._session = CaptureSession(Side.RUNTIME)
        self._encode = Codec(CAPTURE_REQUESTS).encode
        self._decode = Codec(CAPTURE_RESPONSES).decode_runs
        self.closed = False
        self._ending: asyncio.Future[None] | None = None
        self._taken: list[Message] = []
        self.acknowledgements = False
        self._serving = asyncio.ensure_future(self._served(serve))

    async def _served(self, serve: Serve) -> None:
        try:
            await serve(self._requests, self._responses)
            await self._responses.close()
        except BaseException:
            await self._responses.close()
            raise

    async def send(self, request: messages.Request) -> None:
        self._session.request(request)
        await self._requests.write(self._encode(request))

    async def end(self) -> None:
        """Close our side, unless it is."""
        if not self.closed:
            self.closed = True
            self._session.requests_end()
            await self._requests.close()

    def end_after(self, lasting: Lasting) -> None:
        """Close our side when `lasting` returns."""

        async def ending() -> None:
            await lasting()
            await self.end()

        self._ending = asyncio.ensure_future(ending())

    async def responses(self) -> AsyncIterator[Message]:
        """Yield each message, judged, until the connector closes its side."""
        while True:
            while self._taken:
                message = self._taken.pop()
                self._judge(message)
                yield message
            async with asyncio.timeout(PATIENCE_S):
                block = await self._responses.read()
            if not block:
                return
            self._taken = [message for _, run in self._decode(block) for message in run][::-1]

    def _judge(self, message: Message) -> None:
        if isinstance(message, messages.Opened):
            self._session.opened(message)
            self.acknowledgements = message.explicit_acknowledgements
        else:
            self._session.response(type(message))

    async def ended(self) -> None:
        """Wait for the connector's proper end; raises what it failed with."""
        async with asyncio.timeout(PATIENCE_S):
            async for message in self.responses():
                raise RemoteProtocolError(f"can't accept {type(message).__name__}: not asked for")
            await self._serving
        self._session.responses_end()

    async def kill(self) -> None:
        """End the connector, whatever it does."""
        if self._ending is not None:
            self._ending.cancel()
        self._responses.break_off()
        self._requests.break_off()
        while not self._serving.done():
            self._serving.cancel()
            await asyncio.wait([self._serving], timeout=PATIENCE_S / 100)
        if not self._serving.cancelled():
            self._serving.exception()


def reduced(
    documents: Sequence[tuple[int, bytes]], built: messages.CaptureSpec
) -> list[dict[str, Any]]:
    """Return each binding's collection as documents leave it: last by key, deletions gone.

    `_meta` is left out.
    """
    collections: list[dict[str, Any]] = [{} for _ in built.bindings]
    for index, raw in documents:
        document = msgspec.json.decode(raw)
        key = encode_json(key_of(document, built, index)).decode()
        if document.get("_meta", {}).get("op") == "d":
            collections[index].pop(key, None)
        else:
            collections[index][key] = {k: v for k, v in document.items() if k != "_meta"}
    return collections


def key_of(document: Any, built: messages.CaptureSpec, index: int) -> list[Any]:
    """Return the values of a document's key, None where there is none."""
    collection = built.bindings[index].collection
    return [_value_at(document, pointer) for pointer in (collection.key if collection else [])]


def _value_at(document: Any, pointer: str) -> Any:
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            document = document.get(name) if isinstance(document, dict) else None
    return document
