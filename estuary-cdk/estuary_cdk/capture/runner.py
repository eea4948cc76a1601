"""Runs the streams of a source side by side: the one task group of a capture."""

import asyncio
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, TypeVar, assert_never

from estuary_cdk import logs
from estuary_cdk.capture.positions import StreamState
from estuary_cdk.capture.pull import Binding, Pull
from estuary_cdk.capture.readers import read_log, read_pages, read_snapshots, read_windows
from estuary_cdk.capture.reading import Reading, Status
from estuary_cdk.capture.resources import StreamResource
from estuary_cdk.capture.streams import ROW_ID, Log, Paged, Snapshot, Stream, Windowed
from estuary_cdk.errors import ConfigError

ClientT = TypeVar("ClientT")

StreamBinding = Binding[StreamResource, StreamState]


def resolved(
    bindings: Sequence[StreamBinding], streams: Sequence[Stream[ClientT]]
) -> list[tuple[StreamBinding, Stream[ClientT]]]:
    """Return each binding with its stream.

    Raises one ConfigError that names every stream that doesn't exist and every snapshot whose
    collection isn't keyed on the row's number.
    """
    named = {stream.name: stream for stream in streams}
    found, problems = [], []
    for binding in bindings:
        stream = named.get(binding.resource.name)
        if stream is None:
            problems.append(_unknown(binding.resource.name, list(named)))
            continue
        key = binding.collection.key
        if isinstance(stream, Snapshot) and key != [ROW_ID]:
            problems.append(
                f"can't capture {stream.name!r} into {binding.collection.name}: its key is {key}, "
                f"rows of a snapshot have no other than {[ROW_ID]}"
            )
        found.append((binding, stream))
    if problems:
        raise ConfigError("; ".join(problems), problems=problems)
    return found


def _unknown(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
    return f"can't capture {name!r}: there is no such stream, {hint}"


async def run(
    pull: Pull[Any, StreamResource, StreamState],
    client: ClientT,
    streams: Sequence[Stream[ClientT]],
) -> None:
    """Read the bound streams that this shard owns, for good."""
    mine = [
        (binding, stream)
        for binding, stream in resolved(pull.bindings, streams)
        if pull.owns(binding.name)
    ]
    status = Status(len(mine))
    async with asyncio.TaskGroup() as tasks:
        for binding, stream in mine:
            interval = binding.resource.interval or stream.interval
            reading = Reading(client, pull, binding, interval, status, tasks.create_task)
            tasks.create_task(_read(reading, stream))
        status.tell()


async def _read(reading: Reading[ClientT], stream: Stream[ClientT]) -> None:
    with logs.bind(binding=reading.binding.name):
        match stream:
            case Snapshot():
                await read_snapshots(reading, stream)
            case Windowed():
                await read_windows(reading, stream)
            case Log():
                await read_log(reading, stream)
            case Paged():
                await read_pages(reading, stream)
            case _:
                assert_never(stream)
