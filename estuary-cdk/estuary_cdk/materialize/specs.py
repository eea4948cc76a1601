"""Built specs as the runtime sends them, read into bindings."""

from collections.abc import Sequence
from typing import Any

from estuary_cdk.config import parse
from estuary_cdk.errors import ConfigError, RemoteProtocolError
from estuary_cdk.materialize.bindings import Binding, Field, Path
from estuary_cdk.materialize.destination import Rules
from estuary_cdk.materialize.materialization import Materialization
from estuary_cdk.protocol.flow import CollectionSpec, Projection
from estuary_cdk.protocol.materialize import (
    MaterializationBinding,
    MaterializationSpec,
    ValidateBinding,
)
from estuary_cdk.protocol.message import ABSENT


def collection_of(
    binding: ValidateBinding | MaterializationBinding, linked: Sequence[CollectionSpec]
) -> CollectionSpec:
    """Return a binding's collection, which may stand beside the bindings, shared by several.

    Raises RemoteProtocolError where it stands nowhere.
    """
    if binding.collection is not None:
        return binding.collection
    if binding.collection_index < len(linked):
        return linked[binding.collection_index]
    raise RemoteProtocolError(
        f"can't read a binding: it has no collection, and none is linked at "
        f"{binding.collection_index}"
    )


def last_binding(spec: MaterializationSpec | None, path: Path) -> MaterializationBinding | None:
    """Return what was last bound to a table, also where it is disabled by now."""
    if spec is None:
        return None
    known = (*spec.bindings, *spec.inactive_bindings)
    return next((each for each in known if tuple(each.resource_path) == path), None)


def field_of(projection: Projection, rules: Rules, *, is_key: bool, config: bytes = b"") -> Field:
    """Return the field that a projection is at this destination."""
    return Field(
        name=projection.field,
        column=rules.folded(projection.field),
        pointer=projection.ptr,
        inference=projection.inference,
        is_key=is_key,
        config=config,
    )


def bindings_of(
    materialization: Materialization[Any, Any], spec: MaterializationSpec, rules: Rules
) -> list[Binding[Any]]:
    """Return the bindings of a built materialization.

    Raises ConfigError for a resource config that doesn't read or a name that is used twice.
    """
    bindings = [
        _binding(materialization, index, built, spec, rules)
        for index, built in enumerate(spec.bindings)
    ]
    for binding in bindings:
        _require_distinct_columns(binding, rules)
    return bindings


def _binding(
    materialization: Materialization[Any, Any],
    index: int,
    built: MaterializationBinding,
    spec: MaterializationSpec,
    rules: Rules,
) -> Binding[Any]:
    collection = collection_of(built, spec.linked_collections)
    selection = built.field_selection
    projections = {each.field: each for each in collection.projections}

    def field(name: str, *, is_key: bool = False) -> Field:
        if name not in projections:
            raise RemoteProtocolError(
                f"can't read binding {index}: collection {collection.name!r} has no field {name!r}"
            )
        config = bytes(selection.field_config.get(name, ABSENT))
        return field_of(projections[name], rules, is_key=is_key, config=config)

    path = tuple(built.resource_path)
    return Binding(
        index=index,
        resource=parse(
            materialization.resource, bytes(built.resource_config), f"the config of table {path}"
        ),
        path=path,
        collection=collection.name,
        keys=tuple(field(name, is_key=True) for name in selection.keys),
        values=tuple(field(name) for name in selection.values),
        document=field(selection.document) if selection.document else None,
        delta_updates=built.delta_updates,
        backfill=built.backfill,
        state_key=built.state_key or "/".join(path),
        task=spec.name,
    )


def _require_distinct_columns(binding: Binding[Any], rules: Rules) -> None:
    taken: dict[str, str] = {}
    for field in binding.fields:
        other = taken.setdefault(rules.identity(field.column), field.name)
        if other != field.name:
            raise ConfigError(
                f"can't materialize fields {other!r} and {field.name!r} of {binding.collection!r}: "
                f"both would be column {field.column!r} of table {'.'.join(binding.path)!r}",
                hint="exclude one of them",
            )
