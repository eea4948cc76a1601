"""Which failures are tried again, after how long, and when enough is enough.

The budget is stated in the value: with the defaults one call makes at most 8 attempts, the last
within 15 minutes of the first failure. Waits grow exponentially with full jitter: before attempt
k + 1 a call waits a random time between zero and `min(longest, first * 2**(k-1))`, unless the
server said how long in `Retry-After`.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from estuary_cdk.errors import CdkError, TransientError
from estuary_cdk.kits.http.errors import TRANSIENT_STATUSES, HttpError

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class Retry:
    """How persistently a call is repeated; `Retry(attempts=1)` never repeats.

    `statuses` are tried again for `methods`. Any other method is tried again only when the server
    can't have acted on it: the request wasn't sent, or was turned away with 429.
    """

    attempts: int = 8
    first: timedelta = timedelta(seconds=1)
    longest: timedelta = timedelta(minutes=1)
    total: timedelta = timedelta(minutes=15)
    statuses: frozenset[int] = TRANSIENT_STATUSES
    methods: frozenset[str] = IDEMPOTENT_METHODS

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError("at least one attempt is needed")

    def applies(self, error: CdkError, *, repeatable: bool) -> bool:
        """Say whether `error` is worth another attempt, budget aside."""
        if error.context.get("exhausted"):
            return False
        if isinstance(error, HttpError):
            return error.status in self.statuses and (repeatable or error.status == 429)
        if isinstance(error, TransientError):
            return repeatable or not error.context.get("sent", True)
        return False

    def allows(self, attempts: int, seconds: float) -> bool:
        """Say whether one more attempt fits, `seconds` after the first failure."""
        return attempts < self.attempts and seconds <= self.total.total_seconds()

    def ceiling(self, attempt: int) -> float:
        """Return the longest wait in seconds after failed attempt number `attempt` (from 1)."""
        doublings = min(attempt - 1, 40)
        return min(self.longest.total_seconds(), self.first.total_seconds() * 2.0**doublings)

    def wait(self, attempt: int, dice: random.Random) -> float:
        """Return the seconds to wait after failed attempt number `attempt` (from 1)."""
        return dice.uniform(0.0, self.ceiling(attempt))


def given_up(error: CdkError, attempts: int, seconds: float, asked_wait: float | None) -> CdkError:
    """Return `error` with what was tried in vain; no call tries it again (`exhausted`)."""
    tries = "1 attempt" if attempts == 1 else f"{attempts} attempts in {seconds:.0f} s"
    asked = f", asked to wait {asked_wait:.0f} s" if asked_wait else ""
    return type(error)(
        f"{error.message}; gave up after {tries}{asked}",
        hint=error.hint,
        **{**error.context, "exhausted": True},
    )


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that `Retry-After` asks to wait (0 when past), or None without one.

    Both forms count: seconds and an HTTP date. What is neither is ignored.
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.replace(".", "", 1).isdecimal() and text.isascii():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
