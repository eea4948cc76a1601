"""What connectors log, handed on with our own logs."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from estuary_cdk import logs
from estuary_cdk.errors import ConfigError
from flow_local.cli.options import LogFormat
from flow_local.connectors import LogEvent
from flow_local.supervisor.task_logs import TaskLogs

if TYPE_CHECKING:
    from rich.console import Console

LEVELS: Final = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "error": 40}


def log_to_stderr(
    level: str, form: LogFormat | None = None, console: "Console | None" = None
) -> None:
    """Log from `level` on to stderr, or to a terminal's `console`; `form` overrides LOG_FORMAT.

    Without either, stderr gets lines of JSON and a console text.

    Raises ConfigError for a level that isn't one.
    """
    if level not in LEVELS:
        raise ConfigError(f"can't log at level {level!r}: there are {', '.join(LEVELS)}")
    default = LogFormat.JSON if console is None else LogFormat.TEXT
    chosen = form or os.environ.get("LOG_FORMAT", default)
    logs.configure({**os.environ, "LOG_FORMAT": chosen, "LOG_LEVEL": level})
    if console is not None:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(_Above(console))


class _Above:
    """Writes text to a console, above what is shown live."""

    def __init__(self, console: "Console") -> None:
        self._console = console

    def write(self, text: str) -> None:
        self._console.print(text, end="", markup=False, highlight=False, soft_wrap=True)

    def flush(self) -> None:
        self._console.file.flush()


@contextmanager
def kept(data_directory: Path, level: str) -> Iterator[TaskLogs]:
    """Keep what tasks log from `level` on, while the block runs; see `TaskLogs.begin`."""
    root = logging.getLogger()
    before = root.level
    for handler in root.handlers:
        handler.setLevel(max(handler.level, before))
    task_logs = TaskLogs(data_directory)
    root.addHandler(task_logs)
    root.setLevel(min(before, LEVELS[level]))
    try:
        yield task_logs
    finally:
        root.setLevel(before)
        root.removeHandler(task_logs)
        task_logs.close()


def relay(task: str, event: LogEvent) -> None:
    """Log a connector's event as its own words, with the name of its task."""
    logger = logging.getLogger("connector")
    level = LEVELS[event.level]
    if logger.isEnabledFor(level):
        fields = {**event.fields, "task": task}
        logger.log(level, "%s", event.message, extra={"fields": fields})
