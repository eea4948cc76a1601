"""The one way out of a capture: transactions of documents and state, each written without a break.

A checkpoint commits everything that was written since the checkpoint before it. Were documents of
two tasks to mix, one's checkpoint would commit half of the other's. So a transaction gathers what
it is given until it ends or grows past TRANSACTION_BUFFER_BYTES_MAX; then it takes the writer, and
keeps it until its checkpoint is out.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec import Raw

from estuary_cdk.errors import ContractError, TransientError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.protocol.capture import Acknowledge, Checkpoint, Request
from estuary_cdk.protocol.capture_session import CaptureSession
from estuary_cdk.protocol.codec import CAPTURE_RESPONSES, Codec
from estuary_cdk.protocol.flow import ConnectorState
from estuary_cdk.protocol.message import Message
from estuary_cdk.transport import Writer

TRANSACTION_BUFFER_BYTES_MAX: Final = 1 << 20
WRITE_BYTES_MIN: Final = 256 << 10

Run = tuple[type[Message], int]
Callback = Callable[[], None]


class Acknowledgements:
    """Pairs the runtime's counts with the checkpoints they are for: first out, first confirmed."""

    def __init__(self, *, explicit: bool) -> None:
        self.explicit = explicit
        self._outstanding: deque[Callback] = deque()

    def expect(self, confirmed: Callback) -> None:
        """Have `confirmed` called once the checkpoint written next is durable."""
        if self.explicit:
            self._outstanding.append(confirmed)

    def confirm(self, checkpoints: int) -> None:
        """Confirm this many of the oldest checkpoints."""
        for _ in range(checkpoints):
            self._outstanding.popleft()()


class Output:
    """Owns the writer; hands it to one transaction at a time, in the order they ask."""

    def __init__(self, writer: Writer, session: CaptureSession, acks: Acknowledgements) -> None:
        self.acknowledgements = acks
        self.checkpoints = 0
        self._writer = writer
        self._session = session
        self._codec = Codec(CAPTURE_RESPONSES)
        self._turn = asyncio.Lock()
        self._owner: asyncio.Task[object] | None = None
        self._broken: BaseException | None = None
        self._transactions = 0
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def begin(self) -> None:
        """Count a transaction in; after a stop none begins, whoever asks waits to be cancelled."""
        if self._stopping:
            await asyncio.get_running_loop().create_future()
        self._transactions += 1
        self._idle.clear()

    def end(self) -> None:
        """Count a transaction out."""
        self._transactions -= 1
        if not self._transactions:
            self._idle.set()

    def stop(self) -> None:
        """Let no further transaction begin."""
        self._stopping = True

    async def idle(self) -> None:
        """Return when no transaction is open."""
        await self._idle.wait()

    async def take(self) -> None:
        """Wait for the writer and keep it until `release`."""
        me = asyncio.current_task()
        if me is not None and self._owner is me:
            raise ContractError("can't write: one task has two transactions open at once")
        await self._turn.acquire()
        self._owner = me
        if self._broken is not None:
            self.release()
            raise ContractError(
                "can't write: an earlier transaction failed after part of it was written",
                hint="let the error that ended it pass",
            ) from self._broken

    def release(self, error: BaseException | None = None) -> None:
        """Let the next one write; with an error, what was written must never be committed."""
        self._broken = self._broken or error
        self._owner = None
        self._turn.release()

    def judge_end(self) -> None:
        """Raise if a transaction was broken off after part of it was written."""
        if self._broken is not None:
            raise TransientError(
                "can't end properly: a transaction was broken off after part of it was written",
                hint="none of it is committed; the next run captures it again",
            ) from self._broken

    async def write(self, runs: list[Run], block: bytes) -> None:
        """Write messages of a transaction that has the writer."""
        for kind, count in runs:
            self._session.response(kind, count)
        await self._writer.write(block)

    async def commit(self, patch: bytes, confirmed: Callback) -> None:
        """Write the checkpoint of a transaction that has the writer."""
        failpoint("capture.before-checkpoint")
        state = ConnectorState(updated=Raw(patch), merge_patch=True)
        self._session.response(Checkpoint)
        self.acknowledgements.expect(confirmed)
        await self._writer.write(self._codec.encode(Checkpoint(state=state)))
        self.checkpoints += 1
        failpoint("capture.after-checkpoint")

    async def send(self, message: Message) -> None:
        """Write one answer or the start of the session; judged by the caller."""
        await self._writer.write(self._codec.encode(message))
        await self._writer.flush()


def acknowledged(session: CaptureSession, acks: Acknowledgements, request: Request) -> None:
    """Take a request of the runtime within a session; Acknowledge is the only legal one."""
    session.request(request)
    assert isinstance(request, Acknowledge)
    acks.confirm(request.checkpoints)
