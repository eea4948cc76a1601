"""What connectors log, handed on with our own logs."""

import logging
import os
from typing import Final

from rich.console import Console

from estuary_cdk import logs
from estuary_cdk.errors import ConfigError
from flow_local.connectors import LogEvent

LEVELS: Final = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "error": 40}


def log_to_stderr(level: str, console: Console | None = None) -> None:
    """Log from `level` on to stderr, as lines of JSON, or to a terminal's `console` as text.

    Raises ConfigError for a level that isn't one.
    """
    if level not in LEVELS:
        raise ConfigError(f"can't log at level {level!r}: there are {', '.join(LEVELS)}")
    form = "json" if console is None else "text"
    logs.configure({"LOG_FORMAT": form, **os.environ, "LOG_LEVEL": level})
    if console is not None:
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(_Above(console))


class _Above:
    """Writes text to a console, above what is shown live."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        self._console.print(text, end="", markup=False, highlight=False, soft_wrap=True)

    def flush(self) -> None:
        self._console.file.flush()


def relay(task: str, event: LogEvent) -> None:
    """Log a connector's event as its own words, with the name of its task."""
    logger = logging.getLogger("connector")
    level = LEVELS[event.level]
    if logger.isEnabledFor(level):
        fields = {**event.fields, "task": task}
        logger.log(level, "%s", event.message, extra={"fields": fields})
