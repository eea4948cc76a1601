"""What the parts of a catalog say about each other: names, and collections that others use."""

from collections.abc import Iterator, Mapping

from estuary_cdk.errors import shortened
from flow_local.catalog.diagnostics import Mistakes, did_you_mean
from flow_local.catalog.models import Catalog, PartitionSelector
from flow_local.catalog.names import name_mistake, prefixes
from flow_local.catalog.nodes import Location
from flow_local.schema import pointers

SECTION_NOUNS = {
    "captures": "capture",
    "collections": "collection",
    "materializations": "materialization",
    "tests": "test",
}


def check_names(catalog: Catalog, mistakes: Mistakes) -> None:
    """Note names that can't be, that are taken, or that lie below another."""
    taken: dict[str, tuple[str, Location]] = {}
    for noun, name, location in _named(catalog):
        message = f"can't use the name {shortened(name)} of a {noun}"
        if found := name_mistake(name):
            mistakes.add(location, f"{message}: {found[0]}", found[1])
        elif name in taken:
            other, at = taken[name]
            mistakes.add(location, f"{message}: {at} has a {other} of that name", "rename one")
        taken.setdefault(name, (noun, location))
    for noun, name, location in _named(catalog):
        for above in prefixes(name):
            if above in taken:
                other, at = taken[above]
                message = f"can't use the name {shortened(name)} of a {noun}"
                reason = f"it lies below the {other} {above!r} ({at})"
                mistakes.add(location, f"{message}: {reason}", "rename one of them")


def _named(catalog: Catalog) -> Iterator[tuple[str, str, Location]]:
    for section, noun in SECTION_NOUNS.items():
        for name, member in catalog.source.members[section].members.items():
            yield noun, name, member.location


def check_uses(catalog: Catalog, mistakes: Mistakes) -> None:
    """Note uses of collections and captures that aren't defined, or can't be used so."""
    for use, name, place in _uses(catalog):
        if name and name not in catalog.collections:
            near = did_you_mean(name, catalog.collections)
            message = f"can't use {use}: there is no collection {name!r}"
            hint = near or "define it under 'collections', or import the file that does"
            mistakes.add(catalog.locate(place), message, hint)
    for name, capture in catalog.captures.items():
        for index, binding in enumerate(capture.bindings):
            target = catalog.collections.get(binding.target)
            if target is not None and target.derive is not None:
                place = pointers.joined(["captures", name, "bindings", index, "target"])
                use = f"binding {index + 1} of capture {name!r}"
                message = f"can't use {use}: its target {target.name!r} is derived"
                mistakes.add(catalog.locate(place), message, "capture into another collection")
    for name, task in catalog.materializations.items():
        source = task.source.capture if task.source else None
        if source is not None and source not in catalog.captures:
            message = (
                f"can't use 'source' of materialization {name!r}: no capture is named {source!r}"
            )
            place = pointers.joined(["materializations", name, "source", "capture"])
            mistakes.add(catalog.locate(place), message, did_you_mean(source, catalog.captures))


def _uses(catalog: Catalog) -> Iterator[tuple[str, str, str]]:
    """Yield every use of a collection: what uses it, its name, the pointer to the name."""
    for name, capture in catalog.captures.items():
        for index, binding in enumerate(capture.bindings):
            place = pointers.joined(["captures", name, "bindings", index, "target"])
            yield f"binding {index + 1} of capture {name!r}", binding.target, place
    for name, task in catalog.materializations.items():
        for index, bound in enumerate(task.bindings):
            place = pointers.joined(["materializations", name, "bindings", index, "source", "name"])
            use = f"binding {index + 1} of materialization {name!r}"
            yield use, bound.source.collection, place
    for name, test in catalog.tests.items():
        for index, step in enumerate(test.steps):
            place = pointers.joined(["tests", name, index])
            yield f"step {index + 1} of test {name!r}", step.collection, place


def check_partitions(catalog: Catalog, mistakes: Mistakes) -> None:
    """Note selectors of fields that don't partition the collection they are about."""
    for name, task in catalog.materializations.items():
        for index, binding in enumerate(task.bindings):
            place = pointers.joined(
                ["materializations", name, "bindings", index, "source", "partitions"]
            )
            use = f"binding {index + 1} of materialization {name!r}"
            partitions = _selected(binding.source.partitions)
            _check_selector(catalog, binding.source.collection, (use, place, partitions), mistakes)


def _selected(partitions: PartitionSelector | None) -> Mapping[str, Mapping[str, object]]:
    if partitions is None:
        return {}
    return {"include": partitions.include, "exclude": partitions.exclude}


def _check_selector(
    catalog: Catalog,
    collection: str,
    selected: tuple[str, str, Mapping[str, Mapping[str, object]]],
    mistakes: Mistakes,
) -> None:
    if collection not in catalog.collections:
        return
    use, place, partitions = selected
    fields = [p.field for p in catalog.collections[collection].projections if p.partition]
    for key, chosen in partitions.items():
        for field in chosen:
            if field not in fields:
                message = f"can't use {use}: {field!r} isn't a partition of {collection!r}"
                hint = did_you_mean(field, fields) or "declare it under 'projections'"
                mistakes.add(catalog.locate(place + pointers.joined([key, field])), message, hint)
