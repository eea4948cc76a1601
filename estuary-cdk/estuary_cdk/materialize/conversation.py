"""A conversation with the runtime: messages in and out, each judged before it counts."""

from collections import deque

from estuary_cdk.protocol.codec import (
    MATERIALIZE_REQUESTS,
    MATERIALIZE_RESPONSES,
    Codec,
    Run,
)
from estuary_cdk.protocol.materialize_session import MaterializeSession
from estuary_cdk.protocol.message import Message
from estuary_cdk.protocol.session import Side
from estuary_cdk.transport import Reader, Writer

REQUESTS = Codec(MATERIALIZE_REQUESTS)
RESPONSES = Codec(MATERIALIZE_RESPONSES)


class Conversation:
    """The connector's side of a stream of requests and a stream of responses.

    One message at a time is sent: whoever calls `send` waits for it before the next call.
    """

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self._reader = reader
        self._writer = writer
        self._session = MaterializeSession(Side.CONNECTOR)
        self._ahead: deque[Run] = deque()

    async def run(self) -> Run | None:
        """Wait for the next run of equal requests; None once the runtime has closed its side.

        A run is judged when it is returned. Raises RemoteProtocolError for what isn't legal, the
        end included.
        """
        if not await self._read_ahead():
            return None
        kind, run = self._ahead.popleft()
        self._session.request(kind, len(run))
        return kind, run

    async def request(self) -> Message | None:
        """Wait for the next single request, as `run` does; the rest of its run stays for later."""
        if not await self._read_ahead():
            return None
        kind, run = self._ahead.popleft()
        if len(run) > 1:
            self._ahead.appendleft((kind, run[1:]))
        self._session.request(kind)
        request: Message = run[0]
        return request

    async def _read_ahead(self) -> bool:
        while not self._ahead:
            block = await self._reader.read()
            if not block:
                self._session.requests_end()
                return False
            self._ahead.extend(REQUESTS.decode_runs(block))
        return True

    async def send(self, message: Message) -> None:
        """Send one response, out of this process when this returns."""
        self._session.response(type(message))
        await self._writer.write(RESPONSES.encode(message))
        await self._writer.flush()

    async def send_block(self, kind: type[Message], count: int, block: bytes) -> None:
        """Send `count` responses of one kind, spelled already."""
        self._session.response(kind, count)
        await self._writer.write(block)

    def end(self) -> None:
        """Say that nothing more will be sent, with success."""
        self._session.responses_end()
