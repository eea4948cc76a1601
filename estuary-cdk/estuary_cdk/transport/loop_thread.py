"""An event loop on a thread of its own, for what has to go on while other threads block."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

STOP_TIMEOUT_S: Final = 10.0

ResultT = TypeVar("ResultT")


class LoopThread:
    """Runs coroutines beside everything else, from `start` to `stop`."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def call(
        self, coroutine: Coroutine[Any, Any, ResultT], timeout_s: float | None = None
    ) -> ResultT:
        """Run a coroutine on the loop and wait for its result; not to be called on the loop.

        Raises TimeoutError.
        """
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    def stop(self) -> None:
        """Cancel what runs, wait for it to end, and end the thread."""
        if not self._thread.is_alive():
            self._loop.close()
            return
        asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        self._thread.join(STOP_TIMEOUT_S)

    async def _end(self) -> None:
        tasks = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), STOP_TIMEOUT_S / 2)
        await self._loop.shutdown_asyncgens()
        self._loop.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
