"""How far a task is: counted by its loop, read by whoever shows it."""

from dataclasses import dataclass, field
from typing import Literal

Phase = Literal[
    "waiting", "applying", "opening", "running", "idle", "sleeping", "restarting", "done", "failed"
]


@dataclass(slots=True)
class BindingProgress:
    """A binding's counts since the process started; what was rolled back counts again."""

    collection: str
    documents: int = 0
    bytes: int = 0
    backlog_bytes: int = 0
    """Committed in the collection and not materialized yet; 0 for captures."""
    waiting_since_s: dict[int, float] = field(default_factory=dict)
    """When the oldest document was published that isn't materialized, by the monotonic clock.

    Of each shard, by the beginning of its range; a shard that has stored all it read has none.
    """


@dataclass(slots=True)
class TaskProgress:
    """A task's phase and counts; committed work alone is counted."""

    name: str
    kind: Literal["capture", "materialization"]
    bindings: list[BindingProgress] = field(default_factory=list)
    phase: Phase = "waiting"
    transactions: int = 0
    restarts: int = 0
    error: Exception | None = None
