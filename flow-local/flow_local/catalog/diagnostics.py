"""Mistakes in a catalog: collected, placed, and raised together."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from estuary_cdk.errors import ConfigError
from flow_local.catalog.nodes import Location

MISTAKES_RENDERED_MAX = 100


class CatalogError(ConfigError):
    """One mistake and the place of it; `str()` is `file:line: can't ...: ... (hint)`."""

    def __init__(self, message: str, *, location: Location, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.location = location

    def __str__(self) -> str:
        return f"{self.location}: {super().__str__()}"


class Diagnostics(ExceptionGroup[CatalogError]):
    """Every mistake found in a catalog, in the order of files and lines. The user must act."""

    @classmethod
    def of(cls, errors: Iterable[CatalogError]) -> "Diagnostics":
        """Gather `errors`, at least one, dropping repeats that an alias or import causes."""
        distinct = list({str(error): error for error in errors}.values())
        distinct.sort(key=lambda error: error.location)
        mistakes = "1 mistake" if len(distinct) == 1 else f"{len(distinct)} mistakes"
        return cls(f"can't load the catalog: {mistakes}", distinct)

    def derive(self, excs: Sequence[CatalogError]) -> "Diagnostics":  # type: ignore[override] # one kind of error only
        return Diagnostics(self.message, excs)

    def render(self) -> str:
        """Return one line per mistake."""
        shown = [str(error) for error in self.exceptions[:MISTAKES_RENDERED_MAX]]
        if hidden := len(self.exceptions) - len(shown):
            shown.append(f"... and {hidden} more")
        return "\n".join(shown)


@dataclass(slots=True)
class Mistakes:
    """Collects mistakes while reading goes on.

    `incomplete` says that a part of the catalog couldn't be read, so that what seems missing may
    only be unread.
    """

    errors: list[CatalogError] = field(default_factory=list)
    incomplete: bool = False

    def add(self, location: Location, message: str, hint: str | None = None) -> None:
        """Note a mistake at `location`."""
        self.errors.append(CatalogError(message, location=location, hint=hint))

    def raise_any(self) -> None:
        """Raise `Diagnostics` when there is a mistake."""
        if self.errors:
            raise Diagnostics.of(self.errors)


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the nearest of `known`, or None when nothing is near."""
    names = list(known)
    by_lower = {name.lower(): name for name in reversed(names)}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f"did you mean {by_lower[near[0]]!r}?" if near else None
