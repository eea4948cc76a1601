"""Serves a materialization: answers what is asked of it, then runs its transactions.

Spec, validate and apply may come any number of times; open takes the rest of the conversation. All
that blocks runs in one thread: contexts are entered, used and left there.
"""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

from estuary_cdk.clock import Clock, SystemClock
from estuary_cdk.config import parse
from estuary_cdk.logs import get_logger, status
from estuary_cdk.materialize.answers import applied, specification, validated
from estuary_cdk.materialize.bindings import Binding, Shard
from estuary_cdk.materialize.commits import Commits, commits
from estuary_cdk.materialize.conversation import Conversation
from estuary_cdk.materialize.materialization import Materialization
from estuary_cdk.materialize.patterns import Loads
from estuary_cdk.materialize.schedule import Pace
from estuary_cdk.materialize.specs import bindings_of
from estuary_cdk.materialize.staging import Ledger
from estuary_cdk.materialize.transactions import Holding, Transactions, open_session
from estuary_cdk.protocol.materialize import Apply, Open, Spec, Validate
from estuary_cdk.transport import Reader, Thread, Writer

log = get_logger(__name__)

CLOSE_SECONDS_MAX: Final = 5.0

Materializing = Materialization[Any, Any]


@dataclass(frozen=True, slots=True)
class Session:
    """What open made of a built materialization."""

    bindings: list[Binding[Any]]
    transactor: Loads
    commits: Commits
    load_all: bool
    pace: Pace


async def serve(
    materialization: Materializing, reader: Reader, writer: Writer, *, clock: Clock | None = None
) -> None:
    """Serve one conversation to its end; what isn't committed by then is undone.

    Raises ConfigError for what the user asked for, ProtocolError, Fenced, or whatever the
    connector's code raises, alone or in an exception group.
    """
    conversation = Conversation(reader, writer)
    thread = Thread("destination")
    try:
        while (request := await conversation.request()) is not None:
            match request:
                case Spec():
                    await conversation.send(specification(materialization))
                case Validate():
                    answer = _asking(validated, materialization, request)
                    await conversation.send(await thread.run(answer))
                case Apply():
                    answer = _asking(applied, materialization, request)
                    await conversation.send(await thread.run(answer))
                case Open():
                    timing = clock or SystemClock()
                    await _serve_session(materialization, request, conversation, thread, timing)
                    break
    finally:
        thread.stop()
    conversation.end()


def _asking(answer: Any, materialization: Materializing, request: Any) -> Any:
    return lambda: answer(materialization, request)


async def _serve_session(
    materialization: Materializing,
    request: Open,
    conversation: Conversation,
    thread: Thread,
    clock: Clock,
) -> None:
    contexts = ExitStack()
    try:
        session = await thread.run(lambda: _opened(materialization, request, contexts))
        await open_session(conversation, thread, session.commits, load_all=session.load_all)
        status(f"Materializing {len(session.bindings)} bindings")
        await Transactions(
            conversation,
            thread,
            session.bindings,
            session.transactor,
            session.commits,
            Holding(session.pace, clock),
        ).run()
    except BaseException as error:
        await _left(thread, contexts, error)
        raise
    await thread.run(contexts.close)


def _opened(materialization: Materializing, request: Open, contexts: ExitStack) -> Session:
    spec = request.materialization
    config = parse(materialization.config, bytes(spec.config), "the endpoint config")
    with materialization.connect(config) as destination:
        bindings = bindings_of(materialization, spec, destination.rules)
    shard = Shard(spec.name, request.range.key_begin, request.range.key_end)
    transactor = contexts.enter_context(materialization.open(config, bindings, shard))
    ledger = Ledger(shard, tuple(binding.state_key for binding in bindings))
    return Session(
        bindings=bindings,
        transactor=transactor,
        commits=commits(transactor, ledger, bytes(request.state)),
        load_all=any(materialization.adopt_existing(config, each.resource) for each in bindings),
        pace=Pace(materialization.schedule(config), spec.name),
    )


async def _left(thread: Thread, contexts: ExitStack, error: BaseException) -> None:
    """Leave the contexts because of `error`, after the call that may still be running."""

    def leave() -> None:
        try:
            contexts.__exit__(type(error), error, error.__traceback__)
        except BaseException as failure:  # noqa: BLE001 - what went wrong first is what is told
            if failure is not error:
                log.debug("closing failed, too", error=type(failure).__name__)

    closing = thread.submit(leave)
    done, _ = await asyncio.wait([closing], timeout=CLOSE_SECONDS_MAX)
    if not done:
        log.warning("the destination takes too long to close", seconds=CLOSE_SECONDS_MAX)
