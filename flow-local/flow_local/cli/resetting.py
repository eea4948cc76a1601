"""`reset`: forgetting progress, one task's or all, after saying what that means."""

import shutil
import sys
from pathlib import Path

import typer

from estuary_cdk.errors import ConfigError
from flow_local.cli.projects import Project
from flow_local.collections.store import DIRECTORY as COLLECTIONS
from flow_local.recovery import locked, opened
from flow_local.recovery.database import NAME as DATABASE
from flow_local.recovery.lock import NAME as LOCK
from flow_local.supervisor.task_logs import DIRECTORY as LOGS


def reset_project(project: Project, task: str | None, *, yes: bool) -> None:
    """Forget one task, or all tasks and collections.

    Raises ConfigError where there is nothing to forget, where flow-local is running, and where
    nobody said yes.
    """
    if not project.has_run:
        typer.echo(f"Nothing to reset: nothing has run in {project.data_directory} yet.")
        return
    with locked(project.data_directory):
        if task is None:
            _confirm(_told_all(project), yes=yes)
            _remove_all(project.data_directory)
        else:
            with opened(project.data_directory) as database:
                known = database.tasks()
                if task not in known:
                    raise ConfigError(
                        f"can't reset task {task!r}: it has never run",
                        hint=f"these have: {', '.join(map(repr, known)) or 'none'}",
                    )
                _confirm(_told(task), yes=yes)
                database.reset(task)
    typer.echo("Done.")


def _told(task: str) -> str:
    return (
        f"This forgets how far task {task!r} is: its connector's state and its checkpoint.\n"
        "A capture will read its source from the start, into the same collections; a "
        "materialization will empty its tables or make them anew, and read its collections from "
        "the start.\n"
        "Collections and destinations are left as they are until it runs."
    )


def _told_all(project: Project) -> str:
    with project.recorded() as database:
        tasks, ends = database.tasks(), database.ends()
    lines = [f"This removes from {project.data_directory}:"]
    lines += [f"  progress of task {name}" for name in tasks]
    lines += [f"  collection {name} ({size:,} bytes)" for name, size in ends.items()]
    if (project.data_directory / LOGS).exists():
        lines.append("  what tasks logged")
    lines.append("Destinations are left as they are.")
    return "\n".join(lines)


def _confirm(told: str, *, yes: bool) -> None:
    typer.echo(told)
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("can't reset without a yes", hint="add --yes")
    if not typer.confirm("Go on?"):
        raise typer.Exit(1)


def _remove_all(directory: Path) -> None:
    """Remove what is ours, and the directory unless something else is in it."""
    for name in (COLLECTIONS, LOGS):
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", LOCK):
        (directory / name).unlink(missing_ok=True)
    if not any(directory.iterdir()):
        directory.rmdir()
