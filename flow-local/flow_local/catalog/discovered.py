"""What a connector discovered, written into the catalog file that defines the capture."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from estuary_cdk.errors import ConfigError
from flow_local.catalog.diagnostics import CatalogError
from flow_local.catalog.discovery_plan import (
    Addition,
    DiscoveredBinding,
    Plan,
    planned,
    resource_path,
)
from flow_local.catalog.json_text import parse_json
from flow_local.catalog.loader import load
from flow_local.catalog.nodes import Node, encoded, plain
from flow_local.catalog.splicing import YamlFile
from flow_local.catalog.yaml_text import parse_yaml

READ_SCHEMA = (
    b'{"allOf":[{"$ref":"flow://relaxed-write-schema"},{"$ref":"flow://inferred-schema"}]}'
)

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Merged:
    """What became of a discovery.

    `added` are the collections of new bindings, `updated` those whose write schema was replaced.
    `differing` are collections whose key or schema isn't what was discovered and stays; `vanished`
    the resource paths (or resources) of enabled bindings that weren't discovered; `unkeyed` the
    recommended names of bindings that were left out since a collection needs a key.
    """

    file: str
    added: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()
    vanished: tuple[str, ...] = ()
    unkeyed: tuple[str, ...] = ()


def write_discovered(
    path: str | Path,
    capture: str,
    discovered: Sequence[DiscoveredBinding],
    *,
    path_pointers: Sequence[str] = (),
    prefix: str | None = None,
) -> Merged:
    """Merge `discovered` into the file, among `path` and its imports, that defines `capture`.

    `path_pointers` are the connector's resourcePathPointers, which tell the resource path of a
    binding in the file. Collections are named below `prefix`, by default what precedes the last
    part of the capture's name.

    The file is replaced as a whole once the new one is on disk, and only when something changes;
    comments and formatting stay. Raises Diagnostics when the catalog has mistakes, ConfigError when
    the file can't be changed without changing something else.
    """
    catalog = load(path, None)
    if capture not in catalog.captures:
        raise ConfigError(f"can't merge what was discovered: {path} has no capture {capture!r}")
    task = catalog.captures[capture]
    file = task.location.file
    above = capture.rpartition("/")[0] if prefix is None else prefix
    plan = planned(catalog, task, discovered, path_pointers=path_pointers, above=above)
    if plan.added or plan.updated:
        text = Path(file).read_bytes().decode("utf-8-sig")
        _replace_file(Path(file), _changed(text, file, capture, plan))
    vanished = (b for i, b in enumerate(task.bindings) if i not in plan.seen and not b.disable)
    return Merged(
        file=file,
        added=tuple(addition.target for addition in plan.added),
        updated=tuple(plan.updated),
        differing=tuple(plan.differing),
        vanished=tuple(
            "/".join(resource_path(b.resource, b.resource_path, path_pointers))
            or b.resource.decode()
            for b in vanished
        ),
        unkeyed=tuple(plan.unkeyed),
    )


def _changed(text: str, file: str, capture: str, plan: Plan) -> str:
    """Return the new text of the file, of which nothing but the plan has changed."""
    is_json = file.endswith(".json")
    before = parse_json(text, file) if is_json else parse_yaml(text, file)
    wanted = _wanted(plain(before), capture, plan)
    if is_json:
        return msgspec.json.format(wanted, indent=2).decode() + "\n"
    yaml_file = YamlFile(text)
    for addition in plan.added:
        yaml_file.append(("captures", capture, "bindings"), _node(_binding(addition)))
        if addition.is_new:
            collection = _node(_collection(addition.binding))
            yaml_file.insert(("collections",), addition.target, collection)
    for name, binding in plan.updated.items():
        schema = _node(binding.document_schema)
        yaml_file.replace(("collections", name, "writeSchema"), schema)
    try:
        is_right = encoded(parse_yaml(yaml_file.text, file)) == wanted
    except CatalogError:
        is_right = False
    if not is_right:
        raise ConfigError(
            f"can't merge what was discovered into {file!r}: other parts of it would change",
            hint="write the capture and its bindings as plain YAML in block style, without aliases",
        )
    return yaml_file.text


def _wanted(root: dict[str, Any], capture: str, plan: Plan) -> bytes:
    """Return, as JSON, what the file must mean afterwards."""
    task = root["captures"][capture]
    for addition in plan.added:
        task["bindings"] = [*(task.get("bindings") or ()), msgspec.Raw(_binding(addition))]
        if addition.is_new:
            collection = msgspec.Raw(_collection(addition.binding))
            root["collections"] = {**(root.get("collections") or {}), addition.target: collection}
    for name, binding in plan.updated.items():
        schema = encoded(_node(binding.document_schema))
        root["collections"][name]["writeSchema"] = msgspec.Raw(schema)
    return msgspec.json.encode(root)


def _binding(addition: Addition) -> bytes:
    resource = encoded(_node(addition.binding.resource_config))
    members: dict[str, Any] = {"resource": msgspec.Raw(resource), "target": addition.target}
    return msgspec.json.encode(members | ({"disable": True} if addition.binding.disable else {}))


def _collection(binding: DiscoveredBinding) -> bytes:
    schema = msgspec.Raw(encoded(_node(binding.document_schema)))
    if _members(binding.document_schema).get("x-infer-schema") == msgspec.Raw(b"true"):
        schemas = {"writeSchema": schema, "readSchema": msgspec.Raw(READ_SCHEMA)}
    else:
        schemas = {"schema": schema}
    return msgspec.json.encode({**schemas, "key": binding.key})


def _node(text: bytes) -> Node:
    return parse_json(text.decode(), "discovered")


def _replace_file(path: Path, text: str) -> None:
    """Put `text` in the place of a file, all of it or, on failure, none."""
    target = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(target.stat().st_mode)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
