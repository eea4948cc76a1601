"""Which failures a task is restarted after, how soon and how often."""

from dataclasses import dataclass

from estuary_cdk.errors import TransientError
from flow_local.connectors import ConnectorFailed


@dataclass(frozen=True, slots=True)
class Restarts:
    """A policy: delays double from `delay_s` to `delay_s_max`; a committed transaction ends a row.

    Failures that may pass are restarted after: TransientError, and a connector that was killed;
    also one that exited with a status, unless tasks run only until they are idle: then somebody
    waits, and had better be told.
    """

    in_a_row_max: int = 10
    delay_s: float = 1.0
    delay_s_max: float = 60.0

    def delay(self, error: Exception, in_a_row: int, *, until_idle: bool) -> float | None:
        """Return how long to wait after this failure, the `in_a_row`th; None to give up."""
        passing = isinstance(error, TransientError) or (
            isinstance(error, ConnectorFailed) and (error.killed or not until_idle)
        )
        if not passing or in_a_row > self.in_a_row_max:
            return None
        # The exponent is bounded lest the power outgrow a float.
        return float(min(self.delay_s * 2 ** min(in_a_row - 1, 30), self.delay_s_max))
