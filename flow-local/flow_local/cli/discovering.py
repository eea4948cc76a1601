"""`discover`: what the endpoints of captures have, shown or written into the catalog."""

from collections.abc import Sequence

import msgspec
import typer
from msgspec import Raw

from estuary_cdk.errors import ConfigError
from estuary_cdk.protocol.capture import Discover
from estuary_cdk.protocol.capture import DiscoveredBinding as Discovered
from flow_local.catalog import Capture, DiscoveredBinding, Merged, write_discovered
from flow_local.cli.asking import answers
from flow_local.cli.options import Logging
from flow_local.cli.projects import Project
from flow_local.cli.tables import columns, stdout
from flow_local.connectors import Connector, capture_spec, discover


def discover_catalog(project: Project, *, write: bool, as_json: bool, logging: Logging) -> None:
    """Ask each capture for its resources; print them, and with `write` add what is new."""
    tasks = [task for task in project.chosen(project.catalog()) if isinstance(task, Capture)]
    if not tasks:
        raise ConfigError(
            f"can't discover: {str(project.source)!r} has no capture of that kind enabled",
            hint="only captures have resources to discover",
        )
    for task, (pointers, found) in answers(tasks, discovered, logging):
        if as_json:
            for binding in found:
                typer.echo(msgspec.json.encode(binding))
        elif not write:
            _show(task, found)
        if write:
            merged = write_discovered(
                project.source, task.name, [plain(b) for b in found], path_pointers=pointers
            )
            if not as_json:
                _tell(task, merged)


async def discovered(task: Capture, connector: Connector) -> tuple[list[str], list[Discovered]]:
    """Ask a capture's connector; return its resource path pointers and what the endpoint has."""
    spec = await capture_spec(connector)
    request = Discover(
        connector_type=connector.endpoint.connector_type,
        config=Raw(task.endpoint.config),
        name=task.name,
    )
    answer = await discover(connector, request)
    return spec.resource_path_pointers, answer.bindings


def plain(binding: Discovered) -> DiscoveredBinding:
    """Return a binding of the protocol as the catalog takes it."""
    return DiscoveredBinding(
        recommended_name=binding.recommended_name,
        resource_config=bytes(binding.resource_config),
        document_schema=bytes(binding.document_schema),
        key=tuple(binding.key),
        disable=binding.disable,
        resource_path=tuple(binding.resource_path),
        is_fallback_key=binding.is_fallback_key,
    )


def _show(task: Capture, found: Sequence[Discovered]) -> None:
    table = columns("Resource", "Key", "Fields", "Config")
    for binding in found:
        table.add_row(
            binding.recommended_name,
            ", ".join(binding.key),
            _fields(bytes(binding.document_schema)),
            bytes(binding.resource_config).decode(),
        )
    console = stdout()
    console.print(f"{task.name}:")
    console.print(table)
    typer.echo("Add what is new to the catalog with: flow-local discover --write")


def _fields(schema: bytes) -> str:
    properties = msgspec.json.decode(schema).get("properties", {})
    return ", ".join(name for name in properties if name != "_meta")


def _tell(task: Capture, merged: Merged) -> None:
    told = [
        (f"added {len(merged.added)}", merged.added),
        ("new write schema", merged.updated),
        ("kept, though what was discovered differs", merged.differing),
        ("not discovered any more, kept", merged.vanished),
        ("left out for want of a key", merged.unkeyed),
    ]
    lines = [f"  {what}: {', '.join(names)}" for what, names in told if names]
    changed = bool(merged.added or merged.updated)
    typer.echo(f"{task.name}: {'wrote' if changed else 'nothing new for'} {merged.file}")
    for line in lines:
        typer.echo(line)
