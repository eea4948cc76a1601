"""What `raw` commands do: answers of connectors and the catalog itself, as flowctl prints them."""

import sys
from pathlib import Path
from typing import TypeVar

import msgspec
import typer

from estuary_cdk.errors import ConfigError
from flow_local import catalog
from flow_local.catalog import STDIN, Capture, Materialization
from flow_local.cli.asking import answers
from flow_local.cli.discovering import discovered, plain
from flow_local.cli.options import Logging
from flow_local.cli.projects import Project
from flow_local.cli.specs import print_specs

TaskT = TypeVar("TaskT", Capture, Capture | Materialization)

INDENT = 2


def print_spec(source: Path, name: str | None, logging: Logging) -> None:
    """Print the spec response of one task's connector; raises ConfigError unless there is one."""
    project = Project(source, None, (name,) if name else ())
    _one(project, project.chosen(project.catalog()), "tasks")
    print_specs(project, logging)


def discover_raw(source: Path, name: str | None, *, emit_raw: bool, logging: Logging) -> None:
    """Print what a capture's endpoint has, or merge it into the files of the catalog.

    Raises ConfigError where it isn't one capture that is meant, or there is no file to merge into.
    """
    project = Project(source, None, (name,) if name else ())
    if not emit_raw and str(source) == STDIN:
        raise ConfigError(
            "can't merge what is discovered into stdin", hint="name a file, or use --emit-raw"
        )
    tasks = [t for t in project.chosen(project.catalog()) if isinstance(t, Capture)]
    task = _one(project, tasks, "captures")
    [(_, (pointers, found))] = answers([task], discovered, logging)
    if emit_raw:
        for binding in found:
            typer.echo(msgspec.json.encode(binding))
        return
    merged = catalog.write_discovered(
        source, task.name, [plain(binding) for binding in found], path_pointers=pointers
    )
    count = len(merged.added) + len(merged.updated)
    typer.echo(f"Wrote {count} specifications under {merged.file}.")


def print_bundle(source: Path) -> None:
    """Print the catalog as indented JSON, on a terminal with a line break at its end."""
    bundled = catalog.bundle(Project(source).catalog(secrets=False))
    sys.stdout.buffer.write(msgspec.json.format(bundled, indent=INDENT))
    if sys.stdout.isatty():
        sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def _one(project: Project, tasks: list[TaskT], what: str) -> TaskT:
    if len(tasks) != 1:
        names = ", ".join(repr(task.name) for task in tasks)
        raise ConfigError(
            f"can't tell which task of {str(project.source)!r} is meant: it has "
            f"{len(tasks)} {what}",
            hint=f"choose one with --name: {names}" if names else None,
        )
    return tasks[0]
