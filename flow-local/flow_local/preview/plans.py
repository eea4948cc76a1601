"""What a preview is told to do: its sessions, when they end, and what is printed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from estuary_cdk.clock import Clock
from estuary_cdk.protocol.capture import CaptureSpec
from estuary_cdk.protocol.materialize import MaterializationSpec
from flow_local.connectors import Connector
from flow_local.recovery.patches import EMPTY

UNLIMITED: Final = -1


@dataclass(frozen=True, slots=True)
class Plan:
    """How a task is previewed.

    A session makes so many transactions; any negative number is no limit. `timeout_s` is how long a
    session goes on without output, `delay_s` how long a transaction stays open at least.
    """

    sessions: tuple[int, ...] = (UNLIMITED,)
    timeout_s: float | None = None
    delay_s: float = 0.0
    initial_state: bytes = EMPTY
    output_state: bool = False
    output_apply: bool = False


@dataclass(frozen=True, slots=True)
class Preview:
    """One preview: the built spec, its connector, and where lines go, whole and several at once."""

    spec: CaptureSpec | MaterializationSpec
    connector: Connector
    plan: Plan
    write: Callable[[bytes], None]
    clock: Clock
    packs_values: bool = False

    @property
    def name(self) -> str:
        """The task's name."""
        return self.spec.name
