"""The `set` strategy: `{add, intersect, remove}` applied to a stored set.

With the stored set S, a value means (S without `remove`) plus `add`, or (S within `intersect`) plus
`add`. A full reduction leaves only `add`. A partial one composes two such operations:

    older {remove: r, add: a}     then {remove: R, add: A}     = {remove: r+R, add: (a-R)+A}
    older {intersect: i, add: a}  then {remove: R, add: A}     = {intersect: i-R, add: (a-R)+A}
    older {remove: r, add: a}     then {intersect: I, add: A}  = {intersect: I-r, add: (a&I)+A}
    older {intersect: i, add: a}  then {intersect: I, add: A}  = {intersect: i&I, add: (a&I)+A}

Terms are arrays sorted by the key, or objects (their property names are the key).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from estuary_cdk.errors import DataError, shortened
from flow_local.schema.ordering import Order, key_order, order
from flow_local.schema.pointers import Tokens

_properties = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_items = msgspec.json.Decoder(list[msgspec.Raw]).decode

Members = dict[Order, tuple[str | int, bytes]]  # in order: name or index, value


@dataclass(frozen=True, slots=True)
class Rules:
    """How members are told apart, and what becomes of one that is added to an equal one.

    `joined(name or index, older, newer)` returns the new member, or None to drop it.
    """

    key: tuple[Tokens, ...]
    joined: Callable[[str | int, bytes, bytes], bytes | None]
    full: bool


@dataclass(frozen=True, slots=True)
class _Term:
    """One of `add`, `intersect`, `remove`."""

    members: Members
    is_array: bool


def reduced(older: bytes | None, newer: bytes, rules: Rules) -> bytes:
    """Apply the newer operation to the older; raises DataError for what isn't a set."""
    if older is None and not rules.full:
        _terms(newer, rules)
        return newer
    left = {} if older is None else _terms(older, rules)
    right = _terms(newer, rules)
    is_array = all(term.is_array for term in (*left.values(), *right.values()))
    if not is_array and any(term.is_array for term in (*left.values(), *right.values())):
        raise DataError(
            f"can't reduce set {shortened(newer, 80)}: its terms are arrays here, objects there"
        )
    before = {name: term.members for name, term in left.items()}
    after = {name: term.members for name, term in right.items()}
    result: dict[str, Members] = {}
    if "add" in before or "add" in after:
        result["add"] = _added(before.get("add", {}), after, rules)
    if not rules.full:
        result.update(_kept(before, after))
    return msgspec.json.encode(
        {name: _text(term, is_array=is_array) for name, term in result.items()}
    )


def _terms(value: bytes, rules: Rules) -> dict[str, _Term]:
    if value.lstrip()[:1] != b"{":
        raise DataError(f"can't reduce set {shortened(value, 80)}: it isn't an object")
    terms = _properties(value)
    if terms.keys() - {"add", "intersect", "remove"} or {"intersect", "remove"} <= terms.keys():
        raise DataError(
            f"can't reduce set {shortened(value, 80)}:"
            " it holds `add`, and `intersect` or `remove`, and nothing else"
        )
    return {name: _term(bytes(raw), rules) for name, raw in terms.items()}


def _term(value: bytes, rules: Rules) -> _Term:
    kind = value.lstrip()[:1]
    if kind == b"{":
        named = sorted(_properties(value).items())
        return _Term({(name,): (name, bytes(raw)) for name, raw in named}, is_array=False)
    if kind != b"[":
        raise DataError(f"can't reduce set term {shortened(value, 80)}: not an array or object")
    members: Members = {}
    for index, raw in enumerate(_items(value)):
        item = bytes(raw)
        identity = key_order(item, rules.key) if rules.key else order(item)
        members[_hashable(identity)] = (index, item)
    return _Term(dict(sorted(members.items(), key=lambda member: member[0])), is_array=True)


def _hashable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_hashable(part) for part in value)
    return value


def _added(add: Members, after: dict[str, Members], rules: Rules) -> Members:
    if "intersect" in after:
        add = {key: member for key, member in add.items() if key in after["intersect"]}
    removed = after.get("remove", {})
    result = {key: member for key, member in add.items() if key not in removed}
    for key, (place, value) in after.get("add", {}).items():
        joined = rules.joined(place, result[key][1], value) if key in result else value
        if joined is None:
            result.pop(key)
        else:
            result[key] = (place, joined)
    return dict(sorted(result.items(), key=lambda member: member[0]))


def _kept(before: dict[str, Members], after: dict[str, Members]) -> dict[str, Members]:
    """Return what must still be done to the stored set, which isn't known yet."""
    taken = before.get("remove", {})
    given = after.get("remove", {})
    if "intersect" in after:
        within = before.get("intersect")
        return {
            "intersect": {
                key: member
                for key, member in after["intersect"].items()
                if key not in taken and (within is None or key in within)
            }
        }
    if "intersect" in before:
        kept = {k: member for k, member in before["intersect"].items() if k not in given}
        return {"intersect": kept}
    merged = {**taken, **given}
    return {"remove": dict(sorted(merged.items(), key=lambda m: m[0]))} if merged else {}


def _text(term: Members, *, is_array: bool) -> Any:
    if is_array:
        return [msgspec.Raw(value) for _, value in term.values()]
    return {str(name): msgspec.Raw(value) for name, value in term.values()}
