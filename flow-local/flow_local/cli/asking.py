"""Questions to the connectors of a catalog's tasks, whose failures know their place."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from estuary_cdk.errors import CdkError
from flow_local.build.endpoints import launchable
from flow_local.catalog import Capture, CatalogError, Materialization
from flow_local.cli.options import Logging
from flow_local.cli.relays import log_to_stderr, relay
from flow_local.connectors import Connector

LOG_LEVEL = "warn"

AnswerT = TypeVar("AnswerT")
TaskT = TypeVar("TaskT", Capture, Materialization, Capture | Materialization)


def answers(
    tasks: Sequence[TaskT],
    question: Callable[[TaskT, Connector], Awaitable[AnswerT]],
    logging: Logging,
) -> Iterator[tuple[TaskT, AnswerT]]:
    """Ask the connector of one task after the other; raises CatalogError for one that fails."""
    level = logging.level or LOG_LEVEL
    log_to_stderr(level, logging.form)
    for task in tasks:
        yield task, asyncio.run(_ask(task, question, level))


async def _ask(
    task: TaskT, question: Callable[[TaskT, Connector], Awaitable[AnswerT]], level: str
) -> AnswerT:
    with placed(task):
        connector = connector_of(task, level)
        return await question(task, connector)


def connector_of(task: Capture | Materialization, log_level: str) -> Connector:
    """Return the connector of a task, which logs to us; raises ConfigError if it can't be had."""
    endpoint = launchable(task.endpoint)
    return Connector(endpoint, task.name, lambda event: relay(task.name, event), log_level)


@contextmanager
def placed(task: Capture | Materialization) -> Iterator[None]:
    """Give failures inside the place of the task's endpoint, where most are mended."""
    try:
        yield
    except CatalogError:
        raise
    except CdkError as error:
        location = task.endpoint.location
        raise CatalogError(error.message, location=location, hint=error.hint) from error
