"""One stream of requests and responses with a connector, the runtime's side of it.

Every request is judged before it is sent and every response before it is handed over. What goes
wrong comes out as one sentence with the task's name: ConnectorFailed where the process ended badly,
RemoteProtocolError where it said something it may not.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence, Sized
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from estuary_cdk.errors import RemoteProtocolError, TransientError
from estuary_cdk.logs import get_logger
from estuary_cdk.protocol import capture, materialize
from estuary_cdk.protocol.capture_session import CaptureSession
from estuary_cdk.protocol.codec import (
    CAPTURE_REQUESTS,
    CAPTURE_RESPONSES,
    MATERIALIZE_REQUESTS,
    MATERIALIZE_RESPONSES,
    Codec,
    Run,
)
from estuary_cdk.protocol.materialize_session import MaterializeSession
from estuary_cdk.protocol.message import Message
from estuary_cdk.protocol.session import Side
from flow_local.connectors.endpoint import Endpoint
from flow_local.connectors.events import LogEvent
from flow_local.connectors.failures import ConnectorFailed, connector_failed
from flow_local.connectors.process import OnEvent, Process, launch
from flow_local.connectors.spares import Spares

EXIT_WAIT_S: Final = 10.0
STOP_GRACE_S: Final = 1.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connector:
    """A task's connector: how to start it, whose it is, and who gets what it logs.

    With `spares` a process that goes on reading after its answer is asked the next question too.
    """

    endpoint: Endpoint
    task: str
    on_event: OnEvent
    log_level: str = "info"
    spares: Spares | None = None


class CapturedBatch(Message, frozen=True):
    """Many documents of one binding that came as `captured` lines; see `decode_by`."""

    binding: int
    documents: Sized


class _CaptureJudge:
    def __init__(self) -> None:
        self._session = CaptureSession(Side.RUNTIME)
        self.requests_end = self._session.requests_end
        self.responses_end = self._session.responses_end

    def request(self, message: Message) -> None:
        self._session.request(message)  # type: ignore[arg-type] # the table judges its kind

    def responses(self, kind: type[Message], messages: Sequence[Any]) -> None:
        if kind is capture.Opened:
            for message in messages:
                self._session.opened(message)
        elif kind is CapturedBatch:
            count = sum(len(message.documents) for message in messages)
            self._session.response(capture.Captured, count)
        else:
            self._session.response(kind, len(messages))

    def block(self, kind: type[Message], count: int) -> None:
        raise NotImplementedError(f"{kind.__name__}: a capture has no blocks of {count} requests")


class _MaterializeJudge:
    def __init__(self) -> None:
        self._session = MaterializeSession(Side.RUNTIME)
        self.requests_end = self._session.requests_end
        self.responses_end = self._session.responses_end
        self.block = self._session.request

    def request(self, message: Message) -> None:
        self._session.request(type(message))

    def responses(self, kind: type[Message], messages: Sequence[Any]) -> None:
        self._session.response(kind, len(messages))


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A protocol as a conversation needs it."""

    requests: Codec
    responses: Codec
    spec: "type[capture.Spec | materialize.Spec]"
    specified: type[Message]
    judge: Callable[[], "_CaptureJudge | _MaterializeJudge"]


CAPTURE: Final = Dialogue(
    Codec(CAPTURE_REQUESTS),
    Codec(CAPTURE_RESPONSES),
    capture.Spec,
    capture.SpecResponse,
    _CaptureJudge,
)
MATERIALIZE: Final = Dialogue(
    Codec(MATERIALIZE_REQUESTS),
    Codec(MATERIALIZE_RESPONSES),
    materialize.Spec,
    materialize.SpecResponse,
    _MaterializeJudge,
)


class Conversation:
    """A process and the judge of what is said; made by `conversation`.

    One coroutine may send while another receives. `what` is the verb of error messages.
    """

    def __init__(
        self, connector: Connector, process: Process, dialogue: Dialogue, what: str
    ) -> None:
        self._connector = connector
        self._process = process
        self._dialogue = dialogue
        self._judge = dialogue.judge()
        self._decode: Callable[[bytes], list[Run]] = dialogue.responses.decode_runs
        self._what = what
        self._ended = False
        self.requests_ended = False
        """Whether nothing more can be asked."""
        self.goes_on = False
        """Whether it has shown that it reads on after an answer."""
        self.is_kept = False
        """Whether its process is to be kept when the conversation is left."""

    @property
    def pid(self) -> int:
        """The connector's process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether its process still runs."""
        return self._process.is_alive

    def resume(self, connector: Connector, what: str) -> None:
        """Go on after an answer, for another purpose."""
        self._connector, self._what, self.is_kept = connector, what, False
        self._process.hand_logs_to(connector.on_event)

    def decode_by(self, runs: Callable[[bytes], list[Run]]) -> None:
        """Let somebody else decode the blocks from now on, who must do as `Codec.decode_runs` does.

        Runs of `captured` may become `CapturedBatch`es.
        """
        self._decode = runs

    async def tried(self, wait_s: float) -> bool:
        """Ask for a spec after an answer, and tell whether the connector goes on reading.

        One that doesn't is killed; what it logs about the question is of interest to us at most.
        """
        if self.goes_on:
            return True
        events: list[LogEvent] = []
        self._process.hand_logs_to(events.append)
        try:
            async with asyncio.timeout(wait_s):
                await self.send(self._dialogue.spec(self._connector.endpoint.connector_type))
                await self.expect(self._dialogue.specified)
        except (TimeoutError, RemoteProtocolError, ConnectorFailed) as error:
            log.debug("the connector answers once", task=self._connector.task, reason=str(error))
            await self.kill()
            events = [replace(event, level="debug") for event in events]
        else:
            self._process.hand_logs_to(self._connector.on_event)
            self.goes_on = True
        for event in events:
            self._connector.on_event(event)
        return self.goes_on

    async def kill(self) -> None:
        """End its process at once."""
        self.is_kept = False
        await self._process.kill()

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """End its process; see `Process.stop`."""
        await self._process.stop(grace_s)

    async def send(self, request: Message) -> None:
        """Judge and send one request, and see it out of this process."""
        self._judge.request(request)
        try:
            await self._process.stdin.write(self._dialogue.requests.encode(request))
            await self._process.stdin.flush()
        except RemoteProtocolError as error:
            raise await self._broken(error) from error

    async def send_within(self, wait_s: float, request: Message) -> None:
        """Send as `send` does; raises TransientError where the connector doesn't read in time."""
        try:
            async with asyncio.timeout(wait_s):
                await self.send(request)
        except TimeoutError as error:
            task = self._connector.task
            raise TransientError(
                f"can't {self._what} {task!r}: the connector hasn't read its stdin for "
                f"{wait_s:.0f} s"
            ) from error

    async def send_last(self, wait_s: float, request: Message) -> None:
        """Send as `send_within` does what needn't be heard: not by one that has ended properly.

        How it ended is what `receive` tells.
        """
        if self._ended:
            return
        try:
            await self.send_within(wait_s, request)
        except RemoteProtocolError:
            if await self._process.ended(EXIT_WAIT_S) != 0:
                raise

    async def send_block(self, kind: type[Message], count: int, block: bytes) -> None:
        """Judge and send `count` requests of one kind that are spelt out already."""
        self._judge.block(kind, count)
        try:
            await self._process.stdin.write(block)
        except RemoteProtocolError as error:
            raise await self._broken(error) from error

    async def end_requests(self) -> None:
        """Say that no more requests will come."""
        if self.requests_ended:
            return
        self._judge.requests_end()
        self.requests_ended = True
        try:
            await self._process.stdin.close()
        except RemoteProtocolError as error:
            raise await self._broken(error) from error

    async def receive(self) -> list[Run]:
        """Return the next responses, or [] when the connector ended where it may, with status 0.

        A cancelled call loses nothing.
        """
        if self._ended:
            return []
        try:
            block = await self._process.stdout.read()
        except RemoteProtocolError as error:
            raise await self._broken(error) from error
        if not block:
            await self._end()
            return []
        try:
            runs = self._decode(block)
            for kind, messages in runs:
                self._judge.responses(kind, messages)
        except RemoteProtocolError as error:
            raise self._violation(error) from error
        return runs

    async def receive_within(self, wait_s: float | None) -> list[Run] | None:
        """Return the next responses as `receive` does, or None where none came in time."""
        try:
            async with asyncio.timeout(wait_s):
                return await self.receive()
        except TimeoutError:
            return None

    async def expect(self, kind: type[Message], patience_s: float | None = None) -> Message:
        """Return the one response that must come now; out of patience, end the requests."""
        runs = await self.receive_within(patience_s)
        if runs is None:
            await self.end_requests()
            runs = await self.receive()
        if not runs:
            raise self._violation(
                RemoteProtocolError(f"the connector exited without answering {kind.__name__!r}")
            )
        [(found, messages), *more] = runs
        if found is not kind or len(messages) != 1 or more:
            raise self._violation(
                RemoteProtocolError(f"expected one {kind.__name__!r}, found more or something else")
            )
        message: Message = messages[0]
        return message

    async def _end(self) -> None:
        status = await self._process.ended(EXIT_WAIT_S)
        if status is None:
            raise self._violation(
                RemoteProtocolError("the connector closed its stdout but didn't exit")
            )
        if status != 0:
            raise connector_failed(self._connector.task, self._what, status, self._process.said)
        try:
            self._judge.responses_end()
        except RemoteProtocolError as error:
            raise self._violation(
                RemoteProtocolError(
                    "the connector exited with status 0 in the middle of its work",
                    hint=error.message,
                )
            ) from error
        self._ended = True

    async def _broken(self, error: RemoteProtocolError) -> Exception:
        """Return why a stream broke: how the process ended, if it did."""
        status = await self._process.ended(EXIT_WAIT_S)
        if status is None:
            return self._violation(error)
        if status == 0:
            return self._violation(
                RemoteProtocolError("the connector exited with status 0 in the middle of its work")
            )
        return connector_failed(self._connector.task, self._what, status, self._process.said)

    def _violation(self, error: RemoteProtocolError) -> RemoteProtocolError:
        task = self._connector.task
        return RemoteProtocolError(
            f"can't {self._what} {task!r}: {error.message}", hint=error.hint, task=task
        )


@asynccontextmanager
async def conversation(
    connector: Connector, dialogue: Dialogue, what: str, grace_s: float = STOP_GRACE_S
) -> AsyncIterator[Conversation]:
    """Start the connector for one conversation and end its process when the block is left.

    The process may be one of the connector's spares, and one that `is_kept` becomes a spare again.
    Left without an error, the process has `grace_s` to end by itself after its stdin closed, and
    the same again after SIGTERM; left with an error other than cancellation, it is killed at once.
    """
    talk = await _begun(connector, dialogue, what)
    try:
        yield talk
    except BaseException as error:
        talk.is_kept = False
        if isinstance(error, Exception):
            await talk.kill()
        raise
    finally:
        if talk.is_kept and connector.spares:
            await connector.spares.keep(connector.task, connector.endpoint, talk)
        else:
            await talk.stop(grace_s)


async def _begun(connector: Connector, dialogue: Dialogue, what: str) -> Conversation:
    if connector.spares:
        spare = await connector.spares.take(connector.task, connector.endpoint)
        if isinstance(spare, Conversation):
            spare.resume(connector, what)
            return spare
    process = await launch(connector.endpoint, connector.on_event, connector.log_level)
    return Conversation(connector, process, dialogue, what)
