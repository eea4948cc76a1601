"""Where streams resume, as it is kept in their bindings' states, with a version.

A state of an older version is brought up to date when it is read, one version at a time, so that a
running capture survives an upgrade of the kit; tests keep an example of every version.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, ConfigDict, PlainSerializer, model_validator

from estuary_cdk.capture.snapshots import Taken
from estuary_cdk.capture.state import BindingState
from estuary_cdk.capture.windows import Progress

VERSION: Final = 1
UPGRADES: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""For each past version, how its state becomes one of the next."""


def upgraded(
    state: Any,
    upgrades: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]],
    current: int,
) -> Any:
    """Return a state, as JSON values, in its current version.

    Raises ValueError for a version that isn't known.
    """
    if not isinstance(state, dict):
        return state
    version = state.get("version")
    while version != current:
        if not isinstance(version, int) or version not in upgrades:
            raise ValueError(f"version {version!r} isn't known, the current one is {current}")
        state = {**upgrades[version](state), "version": version + 1}
        version += 1
    return state


def spelled(moment: datetime) -> str:
    """Return a moment as it is kept: RFC 3339, in UTC."""
    return moment.isoformat().replace("+00:00", "Z")


Moment = Annotated[AwareDatetime, PlainSerializer(spelled, return_type=str)]


class _Part(BindingState):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class WindowsPart(_Part):
    """See `windows.Progress`."""

    history: Moment
    cutoff: Moment
    tail: Moment

    def progress(self) -> Progress:
        return Progress(self.history, self.cutoff, self.tail)


class SnapshotPart(_Part):
    """When the last snapshot was taken, and what of it is known."""

    taken_at: Moment
    count: int
    digest: str

    def taken(self) -> Taken:
        return Taken(self.count, self.digest)


class LogPart(_Part):
    """The position to read on from; of the type that the stream's positions have."""

    position: int | str


class PagesPart(_Part):
    """The page to read next, none for the first, and whether all pages were read once."""

    token: str | None = None
    complete_at: Moment | None = None


class StreamState(BindingState):
    """The state of one stream; it has the part that its kind of stream needs.

    `started_at` is when it last began from the beginning.
    """

    version: Literal[1] = VERSION
    started_at: Moment | None = None
    windows: WindowsPart | None = None
    snapshot: SnapshotPart | None = None
    log: LogPart | None = None
    pages: PagesPart | None = None

    @model_validator(mode="before")
    @classmethod
    def _upgrade(cls, value: Any) -> Any:
        return upgraded(value, UPGRADES, VERSION)
