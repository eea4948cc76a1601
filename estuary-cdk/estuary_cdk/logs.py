"""Structured logs on stderr, as Flow reads them: one JSON object per line, or text for people.

Logging is ambient: a module asks for its logger once, and what a task knows of itself is bound once
around its work. A message is a constant phrase; values are fields. Documents, keys, secrets and
response bodies are never logged.
"""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import orjson

STATUS: Final = "connectorStatus"
_LEVELS: Final = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "warning": 30, "error": 40}
_bound: ContextVar[dict[str, Any]] = ContextVar("bound", default={})  # noqa: B039 - never mutated


class Logger:
    """Logs constant phrases with fields; cheap when the level is off."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, **fields: Any) -> None:
        """Log something of interest to whoever works on the connector."""
        self._log(logging.DEBUG, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        """Log a change of state a user would recognise."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Log something that was retried or degraded, within limits."""
        self._log(logging.WARNING, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Log why the process is about to exit; the last line of stderr."""
        self._log(logging.ERROR, message, fields)

    def _log(self, level: int, message: str, fields: dict[str, Any]) -> None:
        if self._logger.isEnabledFor(level):
            extra = {"fields": {**_bound.get(), **fields}}
            self._logger.log(level, "%s", message, extra=extra, stacklevel=3)


def get_logger(name: str) -> Logger:
    """Return the logger of a module."""
    return Logger(name)


@contextmanager
def bind(**fields: Any) -> Iterator[None]:
    """Add fields to everything logged inside, in this task and those it starts."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def status(text: str) -> None:
    """Tell the user what the task is doing, in one line."""
    Logger("status").info(text, eventType=STATUS)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: `ts`, `level`, `message`, `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, without its line break."""
        fields = dict(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0] is not None:
            fields["traceback"] = traceback.format_exception(*record.exc_info)
        event = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": "warn" if record.levelno == logging.WARNING else record.levelname.lower(),
            "message": record.getMessage(),
            "fields": fields,
        }
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class TextFormatter(logging.Formatter):
    """Formats a record for a terminal: level, message, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and a traceback's lines where there is one."""
        fields = getattr(record, "fields", {})
        line = f"{record.levelname.lower()}: {record.getMessage()}"
        told = " ".join(f"{name}={value}" for name, value in fields.items() if name != "eventType")
        if told:
            line += f"  [{told}]"
        if record.exc_info and record.exc_info[0] is not None:
            line = "".join(traceback.format_exception(*record.exc_info)) + line
        return line


def configure(environment: dict[str, str] | None = None) -> None:
    """Send all logs of the process to stderr, as LOG_FORMAT (json, text) and LOG_LEVEL say.

    Without LOG_FORMAT, a terminal gets text and everything else gets JSON.
    """
    environment = dict(os.environ) if environment is None else environment
    form = environment.get("LOG_FORMAT", "text" if sys.stderr.isatty() else "json").lower()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS.get(environment.get("LOG_LEVEL", "info").lower(), logging.INFO))
    logging.captureWarnings(capture=True)
