"""What connectors log: lines of stderr, decoded as Flow does.

A line that is a JSON object is one event. Consecutive other lines (a traceback) are one event
together, which ends at the next JSON line, at a pause and at the end of the stream. An event
without a level is an error if its text sounds like one, else a warning.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

LINE_BYTES_MAX: Final = 1 << 20
RAW_BYTES_MAX: Final = 1 << 18

_LEVELS: Final = {
    **{name: name for name in ("trace", "debug", "info", "warn", "error")},
    "warning": "warn",
    "fatal": "error",
    "panic": "error",
}
_ALARMING: Final = re.compile(
    r"error|failed|panic|timeout|unable|unrecognised|unrecognized", re.IGNORECASE
)
# How container engines end what they say of an error.
_HELP: Final = re.compile(r"\s*(See|Run) '(docker|podman) .*--help'")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One event; `level` is trace, debug, info, warn or error, `timestamp` RFC 3339 or empty."""

    level: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)
    timestamp: str = ""
    raw: bool = False
    """Whether it was text rather than JSON."""

    @property
    def sentence(self) -> str:
        """What to tell a user of it: the last line of raw text that tells something, or all."""
        lines = self.message.splitlines() if self.raw else [self.message]
        telling = [line.strip() for line in lines if line.strip() and not _HELP.match(line)]
        return telling[-1] if telling else self.message.strip()


class LogDecoder:
    """Turns the bytes of a stderr into events; a line of more than 1 MiB is cut into pieces."""

    def __init__(self) -> None:
        self._rest = b""
        self._raw: list[str] = []
        self._raw_bytes = 0

    def feed(self, chunk: bytes) -> Iterator[LogEvent]:
        """Take what was read and yield the events it completes."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            yield from self._line(line)
        if len(self._rest) > LINE_BYTES_MAX:
            line, self._rest = self._rest, b""
            yield from self._line(line)

    def pause(self) -> Iterator[LogEvent]:
        """Yield the raw text gathered so far; an unfinished line stays."""
        if self._raw:
            text = "\n".join(self._raw).strip()
            self._raw, self._raw_bytes = [], 0
            if text:
                yield LogEvent(_guessed(text), text, raw=True)

    def end(self) -> Iterator[LogEvent]:
        """Yield what is left at the end of the stream."""
        line, self._rest = self._rest, b""
        yield from self._line(line)
        yield from self.pause()

    def _line(self, line: bytes) -> Iterator[LogEvent]:
        event = _structured(line)
        if event is not None:
            yield from self.pause()
            yield event
            return
        self._raw.append(line.decode(errors="replace").rstrip("\r"))
        self._raw_bytes += len(line)
        if self._raw_bytes > RAW_BYTES_MAX:
            yield from self.pause()


def _structured(line: bytes) -> LogEvent | None:
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        value = _decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    fields = value.pop("fields", None)
    fields = dict(fields) if isinstance(fields, dict) else {}
    level = str(_first(value, "level", "lvl") or "").lower()
    message = _first(value, "message", "msg") or _first(fields, "message", "msg") or ""
    message = message if isinstance(message, str) else str(message)
    timestamp = str(_first(value, "ts", "timestamp", "time") or "")
    known = _LEVELS.get(level) or _guessed(line.decode(errors="replace"))
    return LogEvent(known, message, {**fields, **value}, timestamp)


def _first(values: dict[str, Any], *names: str) -> Any:
    """Take all spellings of a key out and return the first that says something."""
    found = [values.pop(name, None) for name in names]
    return next((value for value in found if value), None)


def _guessed(text: str) -> str:
    return "error" if _ALARMING.search(text) else "warn"
