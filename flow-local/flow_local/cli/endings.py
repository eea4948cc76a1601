"""How a command ends: its exit code, and what it says of a failure.

A mistake of the user's, a connector's failure and a broken disk are sentences on stderr; only a bug
of ours is a traceback.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Final

import typer

from estuary_cdk.errors import CdkError, ConfigError, TransientError
from flow_local.catalog.diagnostics import Diagnostics

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
UNHEALTHY: Final = 3


class CommandFailed(Exception):  # noqa: N818 - an end, as with typer's own Exit
    """A command's work failed: sentences to end with, and the exit code."""

    def __init__(self, code: int, sentences: list[str]) -> None:
        super().__init__("; ".join(sentences))
        self.code = code
        self.sentences = sentences


def reported(error: BaseException) -> int | None:
    """Say on stderr why a command failed and return its exit code; None for a bug."""
    leaves = list(_leaves(error))
    if not all(isinstance(leaf, CdkError | CommandFailed) for leaf in leaves):
        return None
    if isinstance(error, Diagnostics):
        typer.echo(error.render(), err=True)
        return USAGE
    codes = []
    for leaf in leaves:
        codes.append(code_of(leaf))
        for sentence in leaf.sentences if isinstance(leaf, CommandFailed) else [str(leaf)]:
            typer.echo(sentence, err=True)
    sys.stderr.flush()
    return max(codes)


def code_of(error: BaseException) -> int:
    """Return the exit code that an error ends with."""
    if isinstance(error, CommandFailed):
        return error.code
    if isinstance(error, ConfigError):
        # A place in the catalog was added to it: what happened there decides.
        return code_of(error.__cause__) if isinstance(error.__cause__, CdkError) else USAGE
    return UNHEALTHY if isinstance(error, TransientError) else FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def refused(errors: Iterable[CdkError]) -> CommandFailed:
    """Return the end of a command whose tasks can't be built: a sentence for each mistake."""
    found = list(errors)
    return CommandFailed(max(map(code_of, found)), [str(error) for error in found])
