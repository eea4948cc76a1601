"""What tasks are doing, as values for whoever shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flow_local.tasks.progress import BindingProgress, TaskProgress

RATE_S_MIN: Final = 0.5


@dataclass(frozen=True, slots=True)
class BindingStatus:
    """A binding's counts since the process started, and its rates of late."""

    collection: str
    documents: int
    bytes: int
    backlog_bytes: int
    documents_per_s: float
    bytes_per_s: float
    lag_s: float = 0.0
    """The age of the oldest document that isn't materialized; 0 where there is none."""


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """A task at one moment; `error` is the sentence of its last failure, or empty."""

    name: str
    kind: str
    phase: str
    transactions: int
    restarts: int
    error: str
    bindings: tuple[BindingStatus, ...]


class Board:
    """The progress of all tasks; `status` may be asked at any pace."""

    def __init__(self) -> None:
        self.tasks: list[TaskProgress] = []
        self._rates: dict[tuple[str, int], _Rate] = {}

    def status(self, now_s: float) -> Sequence[TaskStatus]:
        """Return all tasks in their order; `now_s` is monotonic."""
        return [self._task(task, now_s) for task in self.tasks]

    def _task(self, task: TaskProgress, now_s: float) -> TaskStatus:
        bindings = tuple(
            self._binding(task.name, index, binding, now_s)
            for index, binding in enumerate(task.bindings)
        )
        error = str(task.error) if task.error else ""
        return TaskStatus(
            task.name, task.kind, task.phase, task.transactions, task.restarts, error, bindings
        )

    def _binding(self, task: str, index: int, at: BindingProgress, now_s: float) -> BindingStatus:
        rate = self._rates.setdefault((task, index), _Rate(now_s))
        rate.look(now_s, at)
        lag_s = max(0.0, now_s - min(at.waiting_since_s.values(), default=now_s))
        return BindingStatus(
            at.collection,
            at.documents,
            at.bytes,
            at.backlog_bytes,
            rate.documents,
            rate.bytes,
            lag_s,
        )


@dataclass(slots=True)
class _Rate:
    since_s: float
    documents_then: int = 0
    bytes_then: int = 0
    documents: float = 0.0
    bytes: float = 0.0

    def look(self, now_s: float, at: BindingProgress) -> None:
        elapsed = now_s - self.since_s
        if elapsed >= RATE_S_MIN:
            # A restarted task counts from zero.
            self.documents = max(0, at.documents - self.documents_then) / elapsed
            self.bytes = max(0, at.bytes - self.bytes_then) / elapsed
            self.since_s = now_s
            self.documents_then, self.bytes_then = at.documents, at.bytes
