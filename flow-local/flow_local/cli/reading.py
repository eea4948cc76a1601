"""`read`: the committed documents of a collection, as they are stored."""

import os
import sys
from typing import BinaryIO

from estuary_cdk.errors import ConfigError
from flow_local.catalog.diagnostics import did_you_mean
from flow_local.cli.projects import Project
from flow_local.collections import Collections


def read_collection(project: Project, name: str, limit: int | None) -> None:
    """Print the committed documents of a collection in the order they were committed.

    Raises ConfigError where there is no such collection.
    """
    with project.recorded() as database:
        ends = database.ends()
    if name not in ends:
        known = f"there are {', '.join(map(repr, ends))}" if ends else "nothing was captured yet"
        raise ConfigError(
            f"can't read collection {name!r}: it has no documents",
            hint=did_you_mean(name, ends) or known,
        )
    try:
        _print(Collections(project.data_directory, ends), name, limit, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Whoever read us has enough; what is buffered must not be flushed again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print(collections: Collections, name: str, limit: int | None, out: BinaryIO) -> None:
    end = collections.end(name)
    reader = collections.reader(name)
    left = limit
    while left != 0 and (block := reader.read(end)):
        if left is not None:
            lines = block.split(b"\n", left)[:-1]
            left -= len(lines)
            block = b"".join(line + b"\n" for line in lines)
        out.write(block)
