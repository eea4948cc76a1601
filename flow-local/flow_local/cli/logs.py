"""`logs`: what tasks and their connectors logged while they ran, and go on logging."""

import asyncio
import heapq
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from estuary_cdk.clock import Clock, SystemClock
from estuary_cdk.errors import ConfigError
from flow_local.catalog.diagnostics import did_you_mean
from flow_local.cli.options import LogFormat
from flow_local.cli.projects import Project
from flow_local.supervisor import Failure, until_stopped
from flow_local.supervisor.task_logs import Follower, logged

POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class LogsOptions:
    """What to show: one task or all, how many lines of the past, whether to go on, and how."""

    task: str | None = None
    follow: bool = False
    lines: int | None = None
    form: LogFormat | None = None


class _Event(msgspec.Struct):
    ts: str = ""
    level: str = ""
    message: str = ""
    fields: dict[str, Any] = {}


_event = msgspec.json.Decoder(_Event).decode


def show_logs(project: Project, options: LogsOptions) -> None:
    """Print what was logged, oldest first; with `follow` go on until Ctrl-C.

    Raises ConfigError for a task that neither logged nor is in the catalog.
    """
    _check(project, options.task)
    form = options.form or (LogFormat.TEXT if sys.stdout.isatty() else LogFormat.JSON)
    shown = _Shown(project, options.task)
    try:
        past = shown.new()
        _print(past if options.lines is None else deque(past, options.lines), form)
        if options.follow:
            asyncio.run(until_stopped(_follow(shown, form, SystemClock())))
    except BrokenPipeError:
        # Whoever read us has enough; what is buffered must not be flushed again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    finally:
        shown.close()


def _check(project: Project, task: str | None) -> None:
    known = set(logged(project.data_directory))
    if task is None or task in known:
        return
    if project.source.exists():
        catalog = project.catalog(secrets=False)
        known |= {*catalog.captures, *catalog.materializations}
    if task not in known:
        told = f"there are {', '.join(map(repr, sorted(known)))}" if known else "nothing has run"
        raise ConfigError(
            f"can't show the logs of {task!r}: there is no such task",
            hint=did_you_mean(task, known) or told,
        )


class _Shown:
    """The logs of one task, or of all, those included that come later."""

    def __init__(self, project: Project, task: str | None) -> None:
        self._project = project
        self._task = task
        self._followers: dict[str, Follower] = {}

    def new(self) -> Iterator[bytes]:
        """Yield the lines that weren't yielded yet, those of several tasks in order of time."""
        for name, folder in logged(self._project.data_directory).items():
            if self._task in {None, name} and name not in self._followers:
                self._followers[name] = Follower(folder)
        new = (follower.lines() for follower in self._followers.values())
        return heapq.merge(*new, key=_time)

    def close(self) -> None:
        for follower in self._followers.values():
            follower.close()


async def _follow(shown: _Shown, form: LogFormat, clock: Clock) -> list[Failure]:
    while True:
        await clock.sleep(POLL_S)
        _print(shown.new(), form)


def _time(line: bytes) -> str:
    return _read(line).ts


def _read(line: bytes) -> _Event:
    try:
        return _event(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Event(message=line.decode(errors="replace"))  # A line that a crash cut off.


def _print(lines: Iterable[bytes], form: LogFormat) -> None:
    out = sys.stdout.buffer
    for line in lines:
        out.write((line if form is LogFormat.JSON else _text(_read(line))) + b"\n")
    out.flush()


def _text(event: _Event) -> bytes:
    fields = {k: v for k, v in event.fields.items() if k not in {"task", "eventType"}}
    told = " ".join(f"{name}={value}" for name, value in fields.items())
    task = event.fields.get("task", "")
    line = f"{event.ts} {event.level:5} {task}: {event.message}"
    return (f"{line}  [{told}]" if told else line).encode()
