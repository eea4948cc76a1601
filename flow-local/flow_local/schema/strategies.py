"""The reduction strategies, on raw JSON text.

Each takes an older and a newer value of one location and returns the reduced one. Objects are taken
apart one level at a time, so whatever isn't changed keeps its bytes. A *full* reduction has the
complete stored value as its older one (or knows there is none) and carries out deletes; a *partial*
one combines two updates, and raises `Apart` where that would lose something.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from estuary_cdk.errors import DataError, shortened
from flow_local.schema import sets, sums
from flow_local.schema.annotations import Location, Settled
from flow_local.schema.ordering import key_order, order
from flow_local.schema.pointers import Tokens
from flow_local.schema.schema_unions import merged_schemas

DEPTH_MAX = 200

_properties = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.encode


class Apart(Exception):  # noqa: N818 - a state of affairs rather than a failure
    """These two updates can't be combined before the stored value is known."""


def reduced(
    location: Location, older: bytes | None, newer: bytes, *, full: bool, depth: int = 0
) -> tuple[bytes, bool]:
    """Return the reduced value of a location and whether it is deleted.

    Raises Apart (partial reductions only), DataError where a value doesn't fit its strategy.
    """
    if depth > DEPTH_MAX:
        raise DataError(f"can't reduce document: it is nested more than {DEPTH_MAX} deep")
    settled = location.settled(newer)
    annotation = settled.annotation
    strategy = annotation.strategy
    if older is not None and not full:
        if not annotation.associative:
            raise Apart
        # What follows a delete starts from nothing, and no single update can say both.
        keeps = strategy != "lastWriteWins"
        if keeps and location.deletes and location.settled(older).annotation.delete:
            raise Apart
    if strategy == "lastWriteWins":
        return newer, full and annotation.delete
    value = _STRATEGIES[strategy](_Step(settled, full=full, depth=depth), older, newer)
    return value, full and annotation.delete


class _Step:
    """Where a strategy is: its location, whether the reduction is full, and how deep it stands."""

    __slots__ = ("depth", "full", "settled")

    def __init__(self, settled: Settled, *, full: bool, depth: int) -> None:
        self.settled = settled
        self.full = full
        self.depth = depth

    @property
    def key(self) -> tuple[Tokens, ...]:
        return self.settled.annotation.key

    def below(self, location: Location, older: bytes | None, newer: bytes) -> bytes | None:
        """Reduce a child; None where it is deleted."""
        value, deleted = reduced(location, older, newer, full=self.full, depth=self.depth + 1)
        return None if deleted else value


def _kind(value: bytes) -> bytes:
    return value.lstrip()[:1]


def _first_write_wins(_: _Step, older: bytes | None, newer: bytes) -> bytes:
    return newer if older is None else older


def _merge(step: _Step, older: bytes | None, newer: bytes) -> bytes:
    kind = _kind(newer)
    if kind not in (b"{", b"["):
        raise DataError(f"can't merge {shortened(newer, 80)}: it is neither object nor array")
    if older is not None and _kind(older) != kind:
        if not step.full:
            raise Apart
        older = None
    if older is None and not (step.full and step.settled.changes_alone):
        return newer
    if kind == b"{":
        return _merged_objects(step, b"{}" if older is None else older, newer)
    if step.key:
        return _encode(list(_merged_by_key(step, older or b"[]", newer)))
    return _merged_by_index(step, older or b"[]", newer)


def _merged_objects(step: _Step, older: bytes, newer: bytes) -> bytes:
    result: dict[str, Any] = _properties(older)
    if step.settled.replaces_children:
        result.update(_properties(newer))
        return _encode(result)
    child = step.settled.property
    for name, raw in _properties(newer).items():
        location = child(name)
        if location.replaces:
            result[name] = raw
            continue
        before = result.get(name)
        value = step.below(location, None if before is None else bytes(before), bytes(raw))
        if value is not None:
            result[name] = msgspec.Raw(value)
        else:
            result.pop(name, None)
    return _encode(result)


def _merged_by_index(step: _Step, older: bytes, newer: bytes) -> bytes:
    before, after = _items(older), _items(newer)
    result: list[msgspec.Raw] = []
    for index, raw in enumerate(after):
        left = bytes(before[index]) if index < len(before) else None
        value = step.below(step.settled.item(index), left, bytes(raw))
        if value is not None:
            result.append(msgspec.Raw(value))
    return _encode(result + before[len(after) :])


def _merged_by_key(step: _Step, older: bytes, newer: bytes) -> Iterator[msgspec.Raw]:
    """Merge two arrays that are sorted by the key."""
    left = [(key_order(bytes(raw), step.key), raw) for raw in _items(older)]
    right = [(key_order(bytes(raw), step.key), raw) for raw in _items(newer)]
    i = 0
    for index, (key, raw) in enumerate(right):
        while i < len(left) and left[i][0] < key:
            yield left[i][1]
            i += 1
        before = None
        if i < len(left) and left[i][0] == key:
            before = bytes(left[i][1])
            i += 1
        value = step.below(step.settled.item(index), before, bytes(raw))
        if value is not None:
            yield msgspec.Raw(value)
    for _, raw in left[i:]:
        yield raw


def _extreme(step: _Step, older: bytes | None, newer: bytes, *, largest: bool) -> bytes:
    if older is None:
        return newer
    if step.key:
        left, right = key_order(older, step.key), key_order(newer, step.key)
    else:
        left, right = order(older), order(newer)
    if left == right:
        kinds = {_kind(older), _kind(newer)}
        if step.key and kinds in ({b"{"}, {b"["}):
            return _merge(step, older, newer)
        return newer
    return older if (left > right) == largest else newer


def _append(_: _Step, older: bytes | None, newer: bytes) -> bytes:
    if older is None:
        return newer
    if older.strip() == b"null":
        return older
    if _kind(older) != b"[" or _kind(newer) != b"[":
        raise DataError(
            f"can't append {shortened(newer, 80)} to {shortened(older, 80)}: both must be arrays"
        )
    return _encode(_items(older) + _items(newer))


def _sum(_: _Step, older: bytes | None, newer: bytes) -> bytes:
    return sums.total(older, newer)


def _set(step: _Step, older: bytes | None, newer: bytes) -> bytes:
    added = step.settled.property("add").settled(b"[]")

    def joined(place: str | int, before: bytes, after: bytes) -> bytes | None:
        location = added.property(place) if isinstance(place, str) else added.item(place)
        return step.below(location, before, after)

    return sets.reduced(older, newer, sets.Rules(step.key, joined, full=step.full))


def _json_schema_merge(_: _Step, older: bytes | None, newer: bytes) -> bytes:
    return merged_schemas(older, newer)


_STRATEGIES: dict[str, Callable[[_Step, bytes | None, bytes], bytes]] = {
    "firstWriteWins": _first_write_wins,
    "merge": _merge,
    "minimize": lambda step, older, newer: _extreme(step, older, newer, largest=False),
    "maximize": lambda step, older, newer: _extreme(step, older, newer, largest=True),
    "sum": _sum,
    "set": _set,
    "append": _append,
    "jsonSchemaMerge": _json_schema_merge,
}
