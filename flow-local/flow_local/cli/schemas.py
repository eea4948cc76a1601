"""`schema`: what is inferred of a collection's documents."""

import msgspec
import typer

from estuary_cdk.errors import ConfigError
from flow_local.catalog.diagnostics import did_you_mean
from flow_local.cli.projects import Project


def print_schema(project: Project, name: str) -> None:
    """Print the schema that is inferred of a collection.

    Raises ConfigError where there is none.
    """
    with project.recorded() as database:
        inferred, ends = database.inferred(), database.ends()
    if name in inferred:
        typer.echo(msgspec.json.format(inferred[name], indent=2))
        return
    if name in ends:
        raise ConfigError(
            f"can't show what is inferred of collection {name!r}: its readers don't ask for it",
            hint="give it a readSchema that refers to flow://inferred-schema",
        )
    known = f"there are {', '.join(map(repr, inferred))}" if inferred else "nothing was inferred"
    raise ConfigError(
        f"can't show what is inferred of collection {name!r}: nothing was captured into it",
        hint=did_you_mean(name, inferred) or known,
    )
