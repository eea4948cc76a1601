"""Reading one mapping of a catalog: its known keys, each with its type, and what is wrong in it.

A mistake is noted and a usable value returned, so that all the mistakes of a catalog are found in
one reading. A key whose value is null counts as not given.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from estuary_cdk.errors import shortened
from flow_local.catalog.diagnostics import Mistakes, did_you_mean
from flow_local.catalog.durations import duration
from flow_local.catalog.nodes import Location, Node, Number, encoded, kind

COUNT_MAX = 2**32 - 1

ReadT = TypeVar("ReadT")


@dataclass(frozen=True, slots=True)
class Stanza:
    """A mapping being read; `name` says what it is, as in "binding 2 of capture 'acme/x'"."""

    name: str
    node: Node
    mistakes: Mistakes

    @property
    def location(self) -> Location:
        """Where the stanza stands."""
        return self.node.location

    def member(self, key: str) -> Node | None:
        """Return what `key` holds; None when it isn't given or null."""
        found = self.node.members.get(key)
        return None if found is None or found.value is None else found

    def required(self, key: str, hint: str | None = None) -> Node | None:
        """Return what `key` holds, noting a mistake when nothing is there."""
        found = self.member(key)
        unread = self.mistakes.incomplete and key in self.node.members
        if found is None and isinstance(self.node.value, Mapping) and not unread:
            self.note(self.node, f"can't use {self.name}: {key!r} is missing", hint)
        return found

    def note(self, at: Node, message: str, hint: str | None = None) -> None:
        """Note a mistake."""
        self.mistakes.add(at.location, message, hint)

    def wrong_type(self, key: str, found: Node, expected: str) -> None:
        """Note that `key` holds another kind of value."""
        place = f"{key!r} of {self.name}"
        self.note(found, f"can't read {place}: expected {expected}, found {kind(found)}")

    def text(self, key: str) -> str | None:
        """Return a string."""
        found = self.member(key)
        if found is None or isinstance(found.value, str):
            return None if found is None else str(found.value)
        self.wrong_type(key, found, "a string")
        return None

    def required_text(self, key: str, hint: str | None = None) -> str:
        """Return a string that must be given; "" stands for a mistake."""
        found = self.required(key, hint)
        return (self.text(key) or "") if found else ""

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean."""
        found = self.member(key)
        if found is None:
            return default
        if not isinstance(found.value, bool):
            self.wrong_type(key, found, "true or false")
            return default
        return found.value

    def count(self, key: str) -> int | None:
        """Return a whole number that fits 32 bits."""
        found = self.member(key)
        if found is None:
            return None
        number = found.value.integer if isinstance(found.value, Number) else None
        if number is None or not 0 <= number <= COUNT_MAX:
            value = found.value.text if isinstance(found.value, Number) else kind(found)
            message = f"can't read {key!r} of {self.name}: expected a whole number, found {value}"
            self.note(found, message, f"use 0 to {COUNT_MAX}")
            return None
        return number

    def choice(self, key: str, allowed: Sequence[ReadT]) -> ReadT | None:
        """Return the one of `allowed` strings that is given."""
        text = self.text(key)
        for choice in allowed:
            if choice == text:
                return choice
        if text is not None:
            known = [str(choice) for choice in allowed]
            hint = did_you_mean(text, known) or f"use one of {', '.join(known)}"
            message = f"can't use {text!r} as {key!r} of {self.name}: unknown"
            self.note(self.node.members[key], message, hint)
        return None

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Return a list of strings."""
        nodes = self.entries(key)
        if nodes is None:
            return None
        for node in nodes:
            if not isinstance(node.value, str):
                self.wrong_type(key, node, "only strings in the list")
        return tuple(node.value for node in nodes if isinstance(node.value, str))

    def entries(self, key: str) -> tuple[Node, ...] | None:
        """Return the items of a list."""
        found = self.member(key)
        if found is not None and not isinstance(found.value, tuple):
            self.wrong_type(key, found, "a list")
            return None
        return found.items if found else None

    def mapping(self, key: str) -> Mapping[str, Node]:
        """Return the members of a mapping; none when it isn't given."""
        found = self.member(key)
        if found is not None and not isinstance(found.value, Mapping):
            self.wrong_type(key, found, "a mapping")
        return found.members if found else {}

    def text_mapping(self, key: str) -> Mapping[str, str]:
        """Return a mapping whose values are all strings."""
        members = self.mapping(key)
        for name, member in members.items():
            if not isinstance(member.value, str):
                self.wrong_type(f"{key}.{name}", member, "a string")
        return {n: m.value for n, m in members.items() if isinstance(m.value, str)}

    def raw(self, key: str) -> bytes | None:
        """Return any value as JSON."""
        found = self.member(key)
        return None if found is None else encoded(found)

    def duration(self, key: str) -> timedelta | None:
        """Return a duration such as `5m`."""
        return self._parsed(key, duration, "write for example '30s', '5m' or '1h 30m'")

    def instant(self, key: str) -> datetime | None:
        """Return an RFC 3339 time with its zone."""
        return self._parsed(key, _instant, "write for example '2024-01-31T00:00:00Z'")

    def below(self, key: str, known: Iterable[str]) -> "Stanza | None":
        """Return the stanza that `key` holds."""
        found = self.member(key)
        name = f"{key!r} of {self.name}"
        return None if found is None else stanza(found, name, known, self.mistakes)

    def _parsed(self, key: str, parse: Callable[[str], ReadT], hint: str) -> ReadT | None:
        text = self.text(key)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as error:
            message = f"can't use {shortened(text)} as {key!r} of {self.name}: {error}"
            self.note(self.node.members[key], message, hint)
            return None


def stanza(node: Node, name: str, known: Iterable[str], mistakes: Mistakes) -> Stanza:
    """Begin to read `node`, noting unknown keys and values that aren't mappings."""
    if not isinstance(node.value, Mapping):
        message = f"can't read {name}: expected a mapping, found {kind(node)}"
        mistakes.add(node.location, message)
    keys = tuple(known)
    for key, member in node.members.items():
        if key not in keys:
            hint = did_you_mean(key, keys) or f"known keys: {', '.join(keys)}"
            mistakes.add(member.location, f"can't use the key {key!r} of {name}: unknown", hint)
    return Stanza(name, node, mistakes)


def _instant(text: str) -> datetime:
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("it isn't a time of RFC 3339") from error
    if value.tzinfo is None:
        raise ValueError("it has no time zone")
    return value
