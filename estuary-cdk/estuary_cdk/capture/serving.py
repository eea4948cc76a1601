"""One conversation of a capture connector with its runtime, from the first request to the end.

Unary questions are answered in order, any number of them. An Open starts the session: the author's
pull function runs beside the reader of requests, which keeps reading to the end, whether or not
anything is captured. When the requests end, or the conversation is cancelled, the capture stops: no
further transaction begins, and the pull function is cancelled once none is open, at the latest
after STOP_GRACE_S. What an open transaction had not written by then is discarded.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, cast

from msgspec import Raw

from estuary_cdk.capture.bindings import resource_path, specified
from estuary_cdk.capture.connector import Application, Capture, DiscoveredResource, Validation
from estuary_cdk.capture.output import Acknowledgements, Output, acknowledged
from estuary_cdk.capture.pull import Pull
from estuary_cdk.capture.state import States
from estuary_cdk.clock import Clock
from estuary_cdk.config import parse
from estuary_cdk.errors import ContractError
from estuary_cdk.jsonschema import config_schema
from estuary_cdk.protocol import capture as messages
from estuary_cdk.protocol.capture_session import CaptureSession
from estuary_cdk.protocol.codec import CAPTURE_REQUESTS, Codec, encode_json
from estuary_cdk.protocol.flow import PROTOCOL_VERSION
from estuary_cdk.protocol.session import Side
from estuary_cdk.transport import Reader, Writer

STOP_GRACE_S: Final = 3.0

AnyCapture = Capture[Any, Any, Any]


class Requests:
    """The runtime's requests, one at a time."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._codec = Codec(CAPTURE_REQUESTS)
        self._read: deque[messages.Request] = deque()

    async def next(self) -> messages.Request | None:
        """Return the next request, None once there are no more."""
        while not self._read:
            block = await self._reader.read()
            if not block:
                return None
            for _, run in self._codec.decode_runs(block):
                self._read.extend(cast("list[messages.Request]", run))
        return self._read.popleft()


async def conversation(capture: AnyCapture, reader: Reader, writer: Writer, clock: Clock) -> None:
    """See `Capture.serve`."""
    requests = Requests(reader)
    session = CaptureSession(Side.CONNECTOR)
    acks = Acknowledgements(explicit=capture.acknowledgements)
    output = Output(writer, session, acks)
    while request := await requests.next():
        session.request(request)
        if isinstance(request, messages.Open):
            await Session(capture, request, requests, session, output).run(clock)
            break
        answer = await _answer(capture, request)
        session.response(type(answer))
        await output.send(answer)
    else:
        session.requests_end()
    session.responses_end()


async def _answer(capture: AnyCapture, request: messages.Request) -> messages.Response:
    match request:
        case messages.Spec():
            return spec(capture)
        case messages.Discover():
            config = parse(capture.config, bytes(request.config), "endpoint config")
            return discovered(capture, await capture.discover(config))
        case messages.Validate():
            return await _validated(capture, request)
        case messages.Apply():
            return await _applied(capture, request)
    raise AssertionError(request)


def spec(capture: AnyCapture) -> messages.SpecResponse:
    """Return what the connector says of itself."""
    return messages.SpecResponse(
        protocol=PROTOCOL_VERSION,
        config_schema=Raw(config_schema(capture.config)),
        resource_config_schema=Raw(config_schema(capture.resource)),
        documentation_url=capture.docs,
        oauth2=capture.oauth2,
        resource_path_pointers=list(capture.path),
    )


def discovered(
    capture: AnyCapture, resources: Sequence[DiscoveredResource[Any]]
) -> messages.Discovered:
    """Return discovered resources as the protocol has them."""
    paths: set[tuple[str, ...]] = set()
    bindings = []
    for found in resources:
        path = resource_path(found.resource, capture.path)
        if not path or path in paths:
            why = "another resource has the same path" if path else "its resource path is empty"
            raise ContractError(f"can't discover {found.name!r}: {why}")
        paths.add(path)
        schema = found.schema
        bindings.append(
            messages.DiscoveredBinding(
                recommended_name=found.name,
                resource_config=Raw(
                    encode_json(
                        found.resource.model_dump(mode="json", by_alias=True, exclude_none=True)
                    )
                ),
                document_schema=Raw(schema if isinstance(schema, bytes) else encode_json(schema)),
                key=list(found.key),
                disable=found.disable,
                resource_path=list(path),
                is_fallback_key=found.fallback_key,
            )
        )
    return messages.Discovered(bindings=bindings)


async def _validated(capture: AnyCapture, request: messages.Validate) -> messages.Validated:
    config, bindings = specified(
        (capture.config, bytes(request.config)),
        (capture.resource, capture.path),
        request.bindings,
        request.linked_collections,
    )
    if capture.validate is not None:
        await capture.validate(Validation(request.name, config, bindings))
    return messages.Validated(
        bindings=[
            messages.ValidatedBinding(resource_path=list(binding.resource_path))
            for binding in bindings
        ]
    )


async def _applied(capture: AnyCapture, request: messages.Apply) -> messages.Applied:
    built = request.capture
    states = States(request.state, capture.state)
    config, bindings = specified(
        (capture.config, bytes(built.config)),
        (capture.resource, capture.path),
        built.bindings,
        built.linked_collections,
        states,
    )
    if capture.apply is None:
        return messages.Applied()
    described = await capture.apply(
        Application(built.name, request.version, config, bindings, states.task)
    )
    return messages.Applied(action_description=described)


class Session:
    """A capture that was opened."""

    def __init__(
        self,
        capture: AnyCapture,
        opened: messages.Open,
        requests: Requests,
        session: CaptureSession,
        output: Output,
    ) -> None:
        self._capture = capture
        self._open = opened
        self._requests = requests
        self._session = session
        self._output = output
        self._stopping = asyncio.Event()

    async def run(self, clock: Clock) -> None:
        """Pull until the function returns, fails or is stopped."""
        pull = self._pull(clock)
        message = messages.Opened(explicit_acknowledgements=self._capture.acknowledgements)
        self._session.opened(message)
        await self._output.send(message)
        running = asyncio.ensure_future(self._running(pull))
        try:
            while not running.done():
                try:
                    await asyncio.wait([running])
                except asyncio.CancelledError:
                    me = asyncio.current_task()
                    if self._stopping.is_set() or me is None:
                        raise
                    me.uncancel()
                    self._stop()
        except asyncio.CancelledError:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            raise
        running.result()
        self._output.judge_end()

    def _pull(self, clock: Clock) -> Pull[Any, Any, Any]:
        built = self._open.capture
        states = States(self._open.state, self._capture.state)
        config, bindings = specified(
            (self._capture.config, bytes(built.config)),
            (self._capture.resource, self._capture.path),
            built.bindings,
            built.linked_collections,
            states,
        )
        return Pull(
            name=built.name,
            version=self._open.version,
            config=config,
            bindings=bindings,
            range=self._open.range,
            clock=clock,
            stopping=self._stopping,
            task_state=states.task,
            _output=self._output,
            _states=states,
        )

    async def _running(self, pull: Pull[Any, Any, Any]) -> None:
        async with asyncio.TaskGroup() as tasks:
            pulling = tasks.create_task(self._author(pull))
            beside = [
                tasks.create_task(self._read_requests()),
                tasks.create_task(self._stop_when_told(pulling, pull.clock)),
            ]
            await asyncio.wait([pulling])
            for task in beside:
                task.cancel()

    async def _author(self, pull: Pull[Any, Any, Any]) -> None:
        await self._capture.pull(pull)

    async def _read_requests(self) -> None:
        while request := await self._requests.next():
            acknowledged(self._session, self._output.acknowledgements, request)
        self._session.requests_end()
        self._stop()

    def _stop(self) -> None:
        self._output.stop()
        self._stopping.set()

    async def _stop_when_told(self, pulling: "asyncio.Task[None]", clock: Clock) -> None:
        await self._stopping.wait()
        idle = asyncio.ensure_future(self._output.idle())
        patience = asyncio.ensure_future(clock.sleep(STOP_GRACE_S))
        try:
            await asyncio.wait([idle, patience], return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()
            patience.cancel()
        pulling.cancel()
