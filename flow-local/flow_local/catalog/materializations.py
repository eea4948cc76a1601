"""The materializations of a catalog."""

from collections.abc import Mapping
from typing import get_args

from flow_local.catalog.configs import Secrets
from flow_local.catalog.models import (
    FieldChoices,
    IncompatibleSchemaChange,
    Materialization,
    MaterializationBinding,
    Source,
    SourceCapture,
)
from flow_local.catalog.nodes import Location, Node, Number, encoded, kind
from flow_local.catalog.stanza import COUNT_MAX, Stanza, stanza
from flow_local.catalog.tasks import (
    Resource,
    note_repeated_resources,
    read_endpoint,
    read_partitions,
    read_resource,
    read_secrets,
    read_shards,
)

MATERIALIZATION = (
    *("source", "onIncompatibleSchemaChange", "endpoint", "bindings", "shards", "triggers"),
    *("syncSchedule", "secrets", "expectPubId", "delete", "reset"),
)

_BINDING = (
    *("resource", "source", "fields", "disable", "priority", "backfill"),
    "onIncompatibleSchemaChange",
)
_SOURCE = ("name", "partitions", "notBefore", "notAfter")
_SOURCE_CAPTURE = ("capture", "targetNaming", "deltaUpdates", "fieldsRecommended")
_FIELDS = ("groupBy", "require", "include", "exclude", "recommended")
_CHANGES: tuple[IncompatibleSchemaChange, ...] = get_args(IncompatibleSchemaChange)


def read_materialization(name: str, task: Stanza, secrets: Secrets) -> Materialization:
    """Read one materialization."""
    change = task.choice("onIncompatibleSchemaChange", _CHANGES)
    return Materialization(
        name=name,
        endpoint=read_endpoint(task, ("connector", "local", "dekaf"), secrets),
        bindings=_read_bindings(task),
        source=_read_source_capture(task),
        on_incompatible_schema_change=change or "backfill",
        shards=read_shards(task),
        secrets=read_secrets(task),
        sync_schedule=task.raw("syncSchedule"),
        triggers=task.raw("triggers"),
        location=task.location,
    )


def _read_bindings(task: Stanza) -> tuple[MaterializationBinding, ...]:
    bindings: list[MaterializationBinding] = []
    enabled: list[tuple[Location, Resource]] = []
    for index, node in enumerate(task.entries("bindings") or ()):
        inner = stanza(node, f"binding {index + 1} of {task.name}", _BINDING, task.mistakes)
        resource = read_resource(inner)
        binding = MaterializationBinding(
            resource=resource.value,
            source=_read_source(inner),
            fields=_read_fields(inner),
            disable=inner.flag("disable"),
            priority=inner.count("priority") or 0,
            backfill=inner.count("backfill") or 0,
            on_incompatible_schema_change=inner.choice("onIncompatibleSchemaChange", _CHANGES),
            resource_path=resource.path,
            location=inner.location,
        )
        bindings.append(binding)
        if not binding.disable:
            enabled.append((binding.location, resource))
    note_repeated_resources(task.name, enabled, task.mistakes)
    return tuple(bindings)


def _read_source(binding: Stanza) -> Source:
    node = binding.required("source", "name the collection it reads")
    if node is None or isinstance(node.value, str):
        place = node.location if node else binding.location
        return Source(str(node.value) if node else "", None, None, None, place)
    inner = stanza(node, f"'source' of {binding.name}", _SOURCE, binding.mistakes)
    before, after = inner.instant("notBefore"), inner.instant("notAfter")
    if before and after and before >= after:
        message = f"can't use {inner.name}: 'notBefore' isn't earlier than 'notAfter'"
        inner.note(inner.node.members["notBefore"], message)
    name = inner.required_text("name", "name the collection it reads")
    return Source(name, read_partitions(inner), before, after, inner.location)


def _read_source_capture(task: Stanza) -> SourceCapture | None:
    node = task.member("source")
    if node is None:
        return None
    if isinstance(node.value, str):
        return SourceCapture(node.value, None, delta_updates=False, fields_recommended=None)
    inner = stanza(node, f"'source' of {task.name}", _SOURCE_CAPTURE, task.mistakes)
    return SourceCapture(
        capture=inner.text("capture"),
        target_naming=inner.text("targetNaming"),
        delta_updates=inner.flag("deltaUpdates"),
        fields_recommended=_depth(inner, "fieldsRecommended"),
    )


def _read_fields(binding: Stanza) -> FieldChoices:
    inner = binding.below("fields", _FIELDS)
    if inner is None:
        return FieldChoices(None, {}, (), None)
    if inner.member("require") and (older := inner.member("include")):
        message = f"can't use {inner.name}: 'include' is the older name of 'require'"
        inner.note(older, message, "move its fields to 'require'")
    choices = FieldChoices(
        group_by=inner.texts("groupBy"),
        require=_read_require(inner),
        exclude=inner.texts("exclude") or (),
        recommended_depth=_depth(inner, "recommended"),
    )
    for field in choices.exclude:
        if field in choices.require or field in (choices.group_by or ()):
            message = f"can't use {inner.name}: it both requires and excludes {field!r}"
            inner.note(inner.node.members["exclude"], message, "remove one of them")
    return choices


def _read_require(fields: Stanza) -> Mapping[str, bytes]:
    required: dict[str, Node] = {}
    for key in ("include", "require"):
        for field, config in fields.mapping(key).items():
            if config.value is not None and not isinstance(config.value, Mapping):
                fields.wrong_type(f"{key}.{field}", config, "a mapping")
            required[field] = config
    return {f: encoded(config) if config.members else b"{}" for f, config in required.items()}


def _depth(inner: Stanza, key: str) -> int | None:
    """Read how deep fields are recommended: true or nothing is any depth, false is 0."""
    node = inner.member(key)
    match node.value if node else True:
        case bool(anything):
            return None if anything else 0
        case Number(integer=int(depth)) if 0 <= depth <= COUNT_MAX:
            return depth
    assert node is not None
    expected = "true, false or a whole number"
    message = f"can't read {key!r} of {inner.name}: expected {expected}, found {kind(node)}"
    inner.note(node, message)
    return None
