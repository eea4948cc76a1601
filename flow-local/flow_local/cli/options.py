"""Options that several commands have."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from flow_local.cli import completing


class LogFormat(StrEnum):
    """How logs are spelt."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Logging:
    """From which level on to log, and how; None is what suits the command and the terminal."""

    level: str | None = None
    form: LogFormat | None = None


SourceOption = Annotated[
    Path,
    typer.Option(
        "--source", "-s", metavar="FILE", help="The catalog, in YAML or JSON; - is stdin."
    ),
]
NameOption = Annotated[
    str | None,
    typer.Option(
        "--name",
        "-n",
        metavar="TASK",
        help="The task that is meant.",
        autocompletion=completing.tasks,
    ),
]
NamesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--name",
        "-n",
        metavar="TASK",
        help="Only this task; may be repeated.",
        autocompletion=completing.tasks,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where collections and progress are kept; by default .flow-local/ beside the catalog.",
    ),
]
CollectionArgument = Annotated[
    str,
    typer.Argument(metavar="COLLECTION", show_default=False, autocompletion=completing.collections),
]
LogLevelOption = Annotated[
    str | None,
    typer.Option("--log-level", metavar="LEVEL", help="error, warn, info, debug or trace."),
]
LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option("--log-format", help="How logs are spelt; by default text on a terminal only."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One line of JSON each, for programs.")]
NetworkOption = Annotated[
    str | None,
    typer.Option("--network", metavar="NAME", hidden=True, help="Accepted as flowctl's."),
]
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", hidden=True, help="Accepted as flowctl's."),
]
OutputOption = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="FORMAT", hidden=True, help="Accepted as flowctl's."),
]
FLOW_YAML: Final = Path("flow.yaml")


def epilog(*lines: str) -> str:
    """Return the examples of a command as the end of its help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
