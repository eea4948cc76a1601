"""How a connector's process starts, stops and says why it failed.

The exit status is 0 when the conversation ended as it may, 1 otherwise. The host shows the last
line of stderr to the user, so that line is one sentence: what failed, why, and what to do. Errors
that people can act on are that sentence alone; a bug adds its traceback as a field. When several
things failed at once each has a line, what the user can act on most directly comes last.

SIGTERM and SIGINT cancel `serve`; one that can still end properly catches the cancellation, does
so, and returns. A second signal kills.
"""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Final, NoReturn

from estuary_cdk import logs
from estuary_cdk.errors import (
    CdkError,
    ConfigError,
    ContractError,
    DataError,
    Fenced,
    LocalProtocolError,
    RemoteProtocolError,
    TransientError,
    shortened,
)
from estuary_cdk.transport import Reader, Writer, claim_stdio

Serve = Callable[[Reader, Writer], Awaitable[None]]

log = logs.get_logger(__name__)

# Batches are many small values, none of which is in a cycle: looking for cycles in them is waste.
COLLECTOR_THRESHOLDS: Final = (100_000, 20, 100)
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
# From what only we can mend to what the user can.
_RELEVANCE: Final[tuple[type[CdkError], ...]] = (
    LocalProtocolError,
    RemoteProtocolError,
    ContractError,
    TransientError,
    DataError,
    ConfigError,
)


def main(serve: Serve) -> NoReturn:
    """Serve stdin and stdout, then exit the process."""
    logs.configure()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    sys.exit(asyncio.run(_served_stdio(serve)))


async def _served_stdio(serve: Serve) -> int:
    reader, writer = claim_stdio()
    return await served(serve, reader, writer, signals=True)


async def served(serve: Serve, reader: Reader, writer: Writer, *, signals: bool = False) -> int:
    """Run `serve` to its end and return the exit status; why it failed is logged."""
    serving = asyncio.ensure_future(_closing(serve, reader, writer))
    if signals:
        _stop_on_signals(serving)
    try:
        await asyncio.wait([serving])
    except asyncio.CancelledError:
        serving.cancel()
        raise
    if serving.cancelled():
        log.warning("stopped by a signal before the work was complete")
        return 1
    error = serving.exception()
    if error is None:
        return 0
    report(error)
    return 1


async def _closing(serve: Serve, reader: Reader, writer: Writer) -> None:
    await serve(reader, writer)
    await writer.close()


def _stop_on_signals(serving: "asyncio.Future[None]") -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for each in SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)
        serving.cancel()

    for each in SIGNALS:
        loop.add_signal_handler(each, stop)


def report(error: BaseException) -> None:
    """Log why the process fails: a line per cause, the most useful to the user last."""
    causes = list(dict.fromkeys(_causes(error)))
    fenced = [cause for cause in causes if isinstance(cause, Fenced)]
    if fenced:
        # Whatever else failed did so because another instance is at work.
        log.warning(str(fenced[0]))
        return
    for cause in sorted(causes, key=_relevance):
        _log_cause(cause)


def _causes(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    elif not isinstance(error, asyncio.CancelledError):
        yield error


def _relevance(cause: BaseException) -> int:
    return max((i for i, kind in enumerate(_RELEVANCE) if isinstance(cause, kind)), default=-1)


def _log_cause(cause: BaseException) -> None:
    logger = logging.getLogger(__name__)
    if isinstance(cause, CdkError):
        logger.debug("where the error was raised", exc_info=cause)
        logger.error("%s", cause)
    else:
        first = str(cause).partition("\n")[0]
        sentence = f"can't go on: {type(cause).__name__}: {shortened(first)} (a bug; please report)"
        logger.error("%s", sentence, exc_info=cause)
