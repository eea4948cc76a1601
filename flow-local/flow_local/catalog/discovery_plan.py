"""What a discovery means for a catalog: which bindings are new, which collections follow.

Bindings are matched by resource path. A new one gets a binding and a collection; a known one keeps
whatever the user made of it. Only a `writeSchema` beside a `readSchema` is the connector's own and
follows what it discovers. Nothing is removed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import msgspec

from estuary_cdk.errors import ConfigError
from flow_local.catalog.models import Capture, Catalog
from flow_local.catalog.names import normalized, prefixes
from flow_local.catalog.nodes import encoded
from flow_local.schema import pointers

CANDIDATES_MAX = 1000

_decoded = msgspec.json.Decoder(float_hook=Decimal).decode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class DiscoveredBinding:
    """One binding of a Discovered response; configs and schemas are JSON."""

    recommended_name: str
    resource_config: bytes
    document_schema: bytes
    key: tuple[str, ...]
    disable: bool = False
    resource_path: tuple[str, ...] = ()
    is_fallback_key: bool = False


@dataclass(frozen=True, slots=True)
class Addition:
    """A new binding, and whether its collection is new, too."""

    target: str
    binding: DiscoveredBinding
    is_new: bool


@dataclass(slots=True)
class Plan:
    """What to write, and what to tell; see Merged. `seen` are the bindings that were discovered."""

    added: list[Addition] = field(default_factory=list)
    updated: dict[str, DiscoveredBinding] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)
    unkeyed: list[str] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)


def resource_path(
    resource: bytes, known: tuple[str, ...] | None, path_pointers: Iterable[str]
) -> tuple[str, ...]:
    """Return the resource path of a binding; empty when there is no way to tell."""
    if known:
        return known
    found = [pointers.located(resource, pointers.tokens(place)) for place in path_pointers]
    values = [_decoded(value) for value in found if value is not None]
    return tuple(str(value) for value in values if value is not None)


def planned(
    catalog: Catalog,
    task: Capture,
    discovered: Sequence[DiscoveredBinding],
    *,
    path_pointers: Sequence[str],
    above: str,
) -> Plan:
    """Return what is to be done about `discovered`; new collections are named below `above`."""
    plan = Plan()
    for binding in discovered:
        path = resource_path(binding.resource_config, binding.resource_path, path_pointers)
        index = _matching(task, binding, path, path_pointers)
        if index is not None:
            plan.seen.add(index)
            _plan_known(catalog, task, task.bindings[index].target, (binding, plan))
        elif not binding.key:
            plan.unkeyed.append(binding.recommended_name)
        else:
            resource = _with_path(binding, path_pointers)
            named = replace(binding, resource_config=resource)
            plan.added.append(_addition(catalog, task, above, (named, plan)))
    return plan


def _with_path(binding: DiscoveredBinding, path_pointers: Sequence[str]) -> bytes:
    """Return the resource to be written, with its path where nothing else could tell it."""
    if path_pointers or not binding.resource_path:
        return binding.resource_config
    resource = _members(binding.resource_config)
    return msgspec.json.encode({**resource, "_meta": {"path": binding.resource_path}})


def _matching(
    task: Capture, binding: DiscoveredBinding, path: tuple[str, ...], path_pointers: Sequence[str]
) -> int | None:
    for index, known in enumerate(task.bindings):
        known_path = resource_path(known.resource, known.resource_path, path_pointers)
        are_known = bool(path and known_path)
        if known_path == path if are_known else _is_same(known.resource, binding.resource_config):
            return index
    return None


def _is_same(one: bytes, other: bytes) -> bool:
    return bool(_decoded(one) == _decoded(other))


def _plan_known(
    catalog: Catalog, task: Capture, name: str, found: tuple[DiscoveredBinding, Plan]
) -> None:
    """Plan what becomes of the collection of a binding that the file already has."""
    binding, plan = found
    members = catalog.source.members["collections"].members[name].members
    written = members.get("writeSchema") or members["schema"]
    has_own_key = binding.key and not binding.is_fallback_key
    if has_own_key and binding.key != catalog.collections[name].key:
        plan.differing.append(name)
    elif _is_same(encoded(written), binding.document_schema):
        return
    elif "writeSchema" in members and _is_inline(catalog, name, task.location.file):
        plan.updated[name] = binding
    else:
        plan.differing.append(name)


def _is_inline(catalog: Catalog, name: str, file: str) -> bool:
    """Tell whether the write schema of a collection is written in `file` itself."""
    collection = catalog.source.members["collections"].members[name]
    schema = collection.members["writeSchema"]
    inner = [member.location.file for member in schema.members.values()]
    return {collection.location.file, schema.location.file, *inner} == {file}


def _addition(
    catalog: Catalog, task: Capture, above: str, found: tuple[DiscoveredBinding, Plan]
) -> Addition:
    """Choose the collection of a new binding.

    Its own name if that is free, also when such a collection waits unused; otherwise one that
    nothing else has and that no other name lies below.
    """
    binding, plan = found
    bound = {b.target for capture in catalog.captures.values() for b in capture.bindings}
    bound |= {addition.target for addition in plan.added}
    taken = {name for section in catalog.source.members.values() for name in section.members}
    taken |= bound
    directories = {prefix for name in taken for prefix in prefixes(name)}
    for name in _candidates(above, binding.recommended_name):
        collection = catalog.collections.get(name)
        if collection is not None and collection.derive is None and name not in bound:
            _plan_known(catalog, task, name, found)
            return Addition(name, binding, is_new=False)
        if name not in taken | directories and not taken.intersection(prefixes(name)):
            return Addition(name, binding, is_new=True)
    name = binding.recommended_name
    raise ConfigError(f"can't name a collection for {name!r}: too many names are taken")


def _candidates(above: str, recommended: str) -> Iterator[str]:
    name = normalized(recommended)
    prefix = f"{above}/" if above else ""
    yield prefix + name
    flat = prefix + name.replace("/", "_")
    yield flat
    for number in range(2, CANDIDATES_MAX):
        yield f"{flat}_{number}"
