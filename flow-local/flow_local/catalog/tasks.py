"""What captures and materializations share in a catalog: endpoints, shards, resources."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from flow_local.catalog.configs import Secrets, config_bytes
from flow_local.catalog.diagnostics import Mistakes
from flow_local.catalog.models import (
    DekafEndpoint,
    Endpoint,
    ImageEndpoint,
    LocalEndpoint,
    PartitionSelector,
    Shards,
)
from flow_local.catalog.nodes import Location, Node, encoded, kind
from flow_local.catalog.stanza import Stanza, stanza

ENDPOINTS = ("connector", "local", "dekaf")
LOG_LEVELS = ("error", "warn", "info", "debug", "trace")

_SHARDS = (
    *("disable", "count", "hotStandbys", "minTxnDuration", "maxTxnDuration", "readChannelSize"),
    *("ringBufferSize", "logLevel", "flags"),
)
SHARDS_MAX = 64
_EXAMPLE = "write for example 'local: {command: [source-http], config: {}}'"


@dataclass(frozen=True, slots=True)
class Resource:
    """The resource of a binding, its bookkeeping apart."""

    value: bytes
    path: tuple[str, ...] | None


def read_endpoint(task: Stanza, kinds: tuple[str, ...], secrets: Secrets) -> Endpoint:
    """Read the one endpoint of a task, which is one of `kinds`."""
    nothing = LocalEndpoint((), b"{}", {}, protobuf=False, location=task.location)
    node = task.required("endpoint", _EXAMPLE)
    if node is None:
        return nothing
    name = f"the endpoint of {task.name}"
    outer = stanza(node, name, kinds, task.mistakes)
    given = [key for key in kinds if outer.member(key)]
    if len(given) != 1:
        found = " and ".join(given) or "nothing"
        wanted = " or ".join(repr(key) for key in kinds)
        message = f"can't use {name}: expected one of {wanted}, found {found}"
        outer.note(node, message, None if given else _EXAMPLE)
        return nothing
    readers = {"connector": _read_image, "local": _read_local, "dekaf": _read_dekaf}
    return readers[given[0]](outer, secrets)


def _read_image(outer: Stanza, secrets: Secrets) -> Endpoint:
    inner = outer.below("connector", ("image", "config"))
    assert inner is not None
    image = inner.required_text(
        "image", "write for example 'image: ghcr.io/estuary/source-http:v1'"
    )
    return ImageEndpoint(image, _config(inner, outer.name, secrets), inner.location)


def _read_local(outer: Stanza, secrets: Secrets) -> Endpoint:
    inner = outer.below("local", ("command", "config", "env", "protobuf"))
    assert inner is not None
    hint = "write for example 'command: [source-http]'"
    node = inner.required("command", hint)
    command = inner.texts("command") or ()
    if node is not None and isinstance(node.value, tuple) and not (command and command[0]):
        inner.note(node, f"can't use {outer.name}: 'command' is empty", hint)
    return LocalEndpoint(
        command=command,
        config=_config(inner, outer.name, secrets),
        env=inner.text_mapping("env"),
        protobuf=inner.flag("protobuf"),
        location=inner.location,
    )


def _read_dekaf(outer: Stanza, secrets: Secrets) -> Endpoint:
    inner = outer.below("dekaf", ("variant", "config"))
    assert inner is not None
    variant = inner.required_text("variant")
    return DekafEndpoint(variant, _config(inner, outer.name, secrets), inner.location)


def _config(inner: Stanza, name: str, secrets: Secrets) -> bytes:
    config = inner.required("config", "write 'config: {}' when there is nothing to configure")
    if config is None:
        return b"{}"
    if not isinstance(config.value, Mapping):
        inner.wrong_type("config", config, "a mapping")
        return b"{}"
    return config_bytes(config, name, secrets, inner.mistakes)


def read_secrets(task: Stanza) -> Mapping[str, str]:
    """Read the named secrets, which can't be combined with an encrypted config."""
    secrets = task.text_mapping("secrets")
    for place in secrets:
        if place and not place.startswith("/"):
            node = task.node.members["secrets"].members[place]
            message = f"can't use {place!r} in 'secrets' of {task.name}: not a JSON pointer"
            task.note(node, message, "begin it with '/'")
    endpoint = task.node.members.get("endpoint")
    for inner in endpoint.members.values() if endpoint else ():
        config = inner.members.get("config")
        if secrets and config is not None and "sops" in config.members:
            message = f"can't use 'secrets' of {task.name}: its config is encrypted by sops"
            task.note(task.node.members["secrets"], message, "use one of the two")
    return secrets


def read_shards(task: Stanza) -> Shards:
    """Read how a task is run."""
    inner = task.below("shards", _SHARDS)
    if inner is None:
        return Shards()
    return Shards(
        disable=inner.flag("disable"),
        count=_count(inner),
        hot_standbys=inner.count("hotStandbys"),
        transaction_min=inner.duration("minTxnDuration"),
        transaction_max=inner.duration("maxTxnDuration"),
        read_channel_size=inner.count("readChannelSize"),
        ring_buffer_size=inner.count("ringBufferSize"),
        log_level=inner.choice("logLevel", LOG_LEVELS),
        flags=inner.text_mapping("flags"),
    )


def _count(inner: Stanza) -> int:
    count = inner.count("count")
    if count is not None and not 1 <= count <= SHARDS_MAX:
        message = f"can't run {inner.name} as {count} processes"
        inner.note(inner.node.members["count"], message, f"use 1 to {SHARDS_MAX}")
    return 1 if count is None else count


def read_resource(binding: Stanza) -> Resource:
    """Read a binding's resource; `{}` stands for a mistake."""
    node = binding.required("resource")
    if node is None or not isinstance(node.value, Mapping):
        if node is not None:
            binding.wrong_type("resource", node, "a mapping")
        return Resource(b"{}", None)
    members = dict(node.value)
    meta = members.pop("_meta", None)
    path = meta.members.get("path") if meta else None
    kept = tuple(str(item.value) for item in path.items) if path else None
    return Resource(encoded(Node(members, node.location)), kept or None)


def note_repeated_resources(
    task: str, resources: list[tuple[Location, Resource]], mistakes: Mistakes
) -> None:
    """Note enabled bindings of one task that are for the same resource."""
    first: dict[bytes | tuple[str, ...], Location] = {}
    for location, resource in resources:
        for identity in {resource.value, resource.path} - {None, b"{}"}:
            assert identity is not None
            if identity in first:
                message = (
                    f"can't use a binding of {task}: {first[identity]} binds the same resource"
                )
                mistakes.add(location, message, "remove or disable one of them")
                break
            first[identity] = location


def read_salt(task: Stanza) -> bytes | None:
    """Read the salt of redactions."""
    text = task.text("redactSalt")
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        message = f"can't use 'redactSalt' of {task.name}: it isn't base64"
        task.note(task.node.members["redactSalt"], message)
        return None


def read_partitions(outer: Stanza) -> PartitionSelector | None:
    """Read which partitions of a collection are meant."""
    inner = outer.below("partitions", ("include", "exclude"))
    if inner is None:
        return None
    chosen: dict[str, dict[str, tuple[bytes, ...]]] = {"include": {}, "exclude": {}}
    for key, fields in chosen.items():
        for field, values in inner.mapping(key).items():
            if not isinstance(values.value, tuple):
                found = kind(values)
                message = f"can't read {field!r} of {inner.name}: expected a list, found {found}"
                inner.note(values, message)
            fields[field] = tuple(encoded(value) for value in values.items)
    return PartitionSelector(chosen["include"], chosen["exclude"])
