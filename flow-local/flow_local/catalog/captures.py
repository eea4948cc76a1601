"""The captures of a catalog."""

from datetime import timedelta

from flow_local.catalog.configs import Secrets
from flow_local.catalog.models import AutoDiscover, Capture, CaptureBinding
from flow_local.catalog.nodes import Location
from flow_local.catalog.stanza import Stanza, stanza
from flow_local.catalog.tasks import (
    Resource,
    note_repeated_resources,
    read_endpoint,
    read_resource,
    read_salt,
    read_secrets,
    read_shards,
)

CAPTURE = (
    *("endpoint", "bindings", "interval", "autoDiscover", "shards", "secrets", "redactSalt"),
    *("expectPubId", "delete", "reset"),
)
INTERVAL_DEFAULT = timedelta(minutes=5)

_BINDING = ("resource", "target", "disable", "backfill")
_AUTO_DISCOVER = ("addNewBindings", "evolveIncompatibleCollections")


def read_capture(name: str, task: Stanza, secrets: Secrets) -> Capture:
    """Read one capture."""
    interval = task.duration("interval")
    discover = task.below("autoDiscover", _AUTO_DISCOVER)
    return Capture(
        name=name,
        endpoint=read_endpoint(task, ("connector", "local"), secrets),
        bindings=_read_bindings(task),
        interval=INTERVAL_DEFAULT if interval is None else interval,
        auto_discover=AutoDiscover(
            add_new_bindings=discover.flag("addNewBindings"),
            evolve_incompatible_collections=discover.flag("evolveIncompatibleCollections"),
        )
        if discover
        else None,
        shards=read_shards(task),
        secrets=read_secrets(task),
        redact_salt=read_salt(task),
        location=task.location,
    )


def _read_bindings(task: Stanza) -> tuple[CaptureBinding, ...]:
    bindings: list[CaptureBinding] = []
    enabled: list[tuple[Location, Resource]] = []
    for index, node in enumerate(task.entries("bindings") or ()):
        inner = stanza(node, f"binding {index + 1} of {task.name}", _BINDING, task.mistakes)
        resource = read_resource(inner)
        binding = CaptureBinding(
            resource=resource.value,
            target=inner.required_text("target", "name the collection it captures into"),
            disable=inner.flag("disable"),
            backfill=inner.count("backfill") or 0,
            resource_path=resource.path,
            location=inner.location,
        )
        bindings.append(binding)
        if not binding.disable:
            enabled.append((binding.location, resource))
    note_repeated_resources(task.name, enabled, task.mistakes)
    return tuple(bindings)
