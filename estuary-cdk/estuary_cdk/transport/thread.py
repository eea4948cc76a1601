"""One thread for blocking calls, which it makes in the order they were asked for.

A daemon, unlike the threads of an executor: a process must be able to end while it waits for input.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class Thread:
    """Runs functions one after the other beside the event loop; started by the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: queue.SimpleQueue[tuple[asyncio.Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None

    def submit(self, call: Callable[[], ResultT]) -> asyncio.Future[ResultT]:
        """Queue a call and return the future of its result; cancelling it doesn't stop the call."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._calls.put((future, call))
        return future

    async def run(self, call: Callable[[], ResultT]) -> ResultT:
        """Make a call and wait for its result."""
        return await self.submit(call)

    def stop(self) -> None:
        """End the thread after the calls queued so far, without waiting for it."""
        if self._thread is not None:
            self._calls.put(None)

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            future, call = item
            try:
                result, error = call(), None
            except BaseException as failure:  # noqa: BLE001 - it is the caller's to handle
                result, error = None, failure
            try:
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            except RuntimeError:
                return  # The loop is closed: nobody waits any more.


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        future.set_exception(RuntimeError("a blocking call raised StopIteration"))
    else:
        future.set_exception(error)
