"""Transactions in a process of their own, so that what else we do needn't wait for them.

What goes in and comes out is copied on the way, which costs a quarter of the work itself.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from estuary_cdk.protocol.materialize import MaterializationSpec
from estuary_cdk.transport import Beside, Thread
from flow_local.gathering.messages import Add, Answer, Begin, Compile, Loaded, Next, Request
from flow_local.gathering.transaction import Held

WORKER: Final = "flow_local.gathering.worker"

_Ask = Callable[[Request], Awaitable[Answer]]


class Process:
    """The process that gathers for one session, started when it is first asked for something.

    Raises what gathering here would, and TransientError where the process was killed, with which
    all that it held is gone.
    """

    def __init__(self, spec: MaterializationSpec, *, packs_values: bool, loads_all: bool) -> None:
        self._compile = Compile(spec, packs_values, loads_all)
        self._work = f"gather documents for {spec.name!r}"
        self._thread = Thread(f"gatherer of {spec.name}")
        self._child: Beside | None = None
        self._begun = 0
        self._was_asked = False

    def begin(self, max_keys: Sequence[bytes]) -> "Apart":
        """Return a new transaction."""
        self._begun += 1
        return Apart(self._ask, Begin(self._begun, tuple(max_keys)))

    async def end(self) -> None:
        """End the process, if there is one; it is started anew for transactions that come."""
        if self._child is not None:
            self._child.kill()
        if self._was_asked:
            await self._thread.run(self._end)
            self._was_asked = False

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.end()

    async def close(self) -> None:
        """End the process for good."""
        await self.end()
        self._thread.stop()

    async def _ask(self, request: Request) -> Answer:
        self._was_asked = True
        return await self._thread.run(lambda: self._answer(request))

    def _answer(self, request: Request) -> Answer:
        if self._child is None:
            self._child = Beside(WORKER, self._work)
            self._told(self._child, self._compile)
        return self._told(self._child, request)

    def _told(self, child: Beside, request: Request) -> Answer:
        child.tell(request)
        answer: Answer = child.answer()
        return answer


class Apart:
    """A transaction in another process, as a `Gathering`."""

    def __init__(self, ask: _Ask, begin: Begin) -> None:
        self.held: Sequence[Held] = [Held(key) for key in begin.max_keys]
        self._ask = ask
        self._begin = begin
        self._has_begun = False

    async def add(self, binding: int, documents: Sequence[bytes]) -> tuple[int, bytes]:
        """See `Gathering`."""
        answer = await self._told(Add(self._number, binding, b"\n".join(documents)))
        return answer.count, answer.lines

    async def loaded(self, binding: int, documents: Sequence[bytes]) -> bytes:
        """See `Gathering`."""
        answer = await self._told(Loaded(self._number, binding, b"\n".join(documents)))
        return answer.lines

    async def stores(self) -> AsyncIterator[tuple[int, bytes]]:
        """See `Gathering`."""
        while self._has_begun and (answer := await self._ask(Next(self._number))).count:
            yield answer.count, answer.lines

    @property
    def _number(self) -> int:
        return self._begin.transaction

    async def _told(self, request: Add | Loaded) -> Answer:
        if not self._has_begun:
            await self._ask(self._begin)
            self._has_begun = True
        answer = await self._ask(request)
        held = self.held[request.binding]
        held.max_key, held.documents = answer.max_key, answer.documents
        held.size = answer.size
        return answer
