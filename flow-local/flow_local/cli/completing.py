"""Completion in shells: their scripts, and the names that a catalog has to offer."""

import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

import typer
from typer.completion import (  # type: ignore[attr-defined] # as public as it gets
    completion_init,
    get_completion_script,
)

COMPLETE_VARIABLE: Final = "_FLOW_LOCAL_COMPLETE"


class Shell(StrEnum):
    """A shell that completes."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def print_script(shell: Shell) -> None:
    """Print what a shell has to read so that it completes flow-local."""
    typer.echo(
        get_completion_script(
            prog_name="flow-local", complete_var=COMPLETE_VARIABLE, shell=shell.value
        )
    )


def prepare() -> None:
    """Answer a shell that asks how to complete, if one does, once the command line runs."""
    if COMPLETE_VARIABLE in os.environ:
        completion_init()


def tasks(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of a catalog's tasks that begin so."""
    return [name for name in _names(context, of_tasks=True) if name.startswith(incomplete)]


def collections(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of a catalog's collections that begin so."""
    return [name for name in _names(context, of_tasks=False) if name.startswith(incomplete)]


def _names(context: typer.Context, *, of_tasks: bool) -> Iterator[str]:
    from estuary_cdk.errors import CdkError
    from flow_local import catalog

    source = context.params.get("source") or "flow.yaml"
    try:
        loaded = catalog.load(Path(str(source)), None)
    except (CdkError, OSError):
        return  # Whoever types has other worries than that the catalog is wrong.
    yield from (*loaded.captures, *loaded.materializations) if of_tasks else loaded.collections
