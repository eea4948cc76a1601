"""A project: its catalog, the directory where its data lives, and how both are begun."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from estuary_cdk.errors import ConfigError
from flow_local import catalog
from flow_local.catalog import STDIN, Capture, Catalog, Materialization
from flow_local.recovery import Database, opened
from flow_local.recovery.database import NAME as DATABASE

DATA_DIRECTORY: Final = ".flow-local"


@dataclass(frozen=True, slots=True)
class Project:
    """A catalog and the tasks of it that are meant; no names mean all."""

    source: Path
    data: Path | None = None
    names: tuple[str, ...] = ()

    @property
    def data_directory(self) -> Path:
        """Where collections and progress are kept."""
        return self.data or self.source.parent / DATA_DIRECTORY

    def catalog(self, *, secrets: bool = True) -> Catalog:
        """Load the catalog; without `secrets`, configs stay as they are written.

        Raises Diagnostics with all mistakes, ConfigError where there is no such file or task.
        """
        if str(self.source) != STDIN and not self.source.exists():
            raise ConfigError(
                f"can't load the catalog: there is no file {str(self.source)!r}",
                hint="name one with --source, or begin one: flow-local init",
            )
        loaded = catalog.load(self.source, os.environ if secrets else None)
        for name in self.names:
            if name not in loaded.captures and name not in loaded.materializations:
                raise ConfigError(
                    f"can't find task {name!r} in {str(self.source)!r}", hint=_tasks_of(loaded)
                )
        return loaded

    def chosen(self, loaded: Catalog) -> list[Capture | Materialization]:
        """Return the tasks that are meant and enabled; captures come first.

        Raises ConfigError where there are none.
        """
        tasks: list[Capture | Materialization]
        tasks = [*loaded.captures.values(), *loaded.materializations.values()]
        chosen = [task for task in tasks if self.names == () or task.name in self.names]
        enabled = [task for task in chosen if not task.shards.disable]
        if not enabled:
            reason = "all tasks are disabled" if chosen else "it has no captures, materializations"
            raise ConfigError(
                f"can't find a task in {str(self.source)!r}: {reason}",
                hint="add one; flow-local init writes an example",
            )
        return enabled

    @property
    def has_run(self) -> bool:
        """Whether there is a recovery database."""
        return (self.data_directory / DATABASE).exists()

    @contextmanager
    def recorded(self) -> Iterator[Database]:
        """Open the recovery database to read it, beside whoever writes."""
        with opened(self.data_directory, writing=False) as database:
            yield database


def _tasks_of(loaded: Catalog) -> str:
    names = [*loaded.captures, *loaded.materializations]
    return f"it has {', '.join(map(repr, names))}" if names else "it has no tasks"


def begin(directory: Path) -> None:
    """Write the template of a catalog, and say what to do with it."""
    path = catalog.template(directory)
    typer.echo(f"Wrote {path}: a CSV file over HTTP into a SQLite table.")
    typer.echo(
        "Run it:  flow-local run --until-idle"
        + ("" if directory == Path() else f" --source {path}")
    )
