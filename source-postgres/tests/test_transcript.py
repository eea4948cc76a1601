"""Golden transcripts: every message of a scripted conversation, from spec to changes.

Positions, times and names that differ from run to run are replaced by what they are. With
UPDATE_SNAPSHOTS=true in the environment the transcript is written anew.
"""

import os
import re
from pathlib import Path

import msgspec

from estuary_cdk.testing.runtime import CaptureRuntime
from source_postgres import capture

GOLDEN = Path(__file__).with_name("transcript.txt")
TABLES = (
    "create type mood as enum ('sad', 'ok', 'happy')",
    "create domain positive as int check (value > 0)",
    "create type place as (street text, number int)",
    """create table people (
        id int primary key, name varchar(20) not null, mood mood, age positive, home place,
        balance numeric(12,4), share float8, tags text[], grid int[][], data jsonb, raw json,
        picture bytea, seen timestamptz, day date, wait interval, token uuid, net inet,
        span int4range, active boolean, doubled int generated always as (id * 2) stored)""",
    "comment on column people.name is 'As they like to be called.'",
    """insert into people values
        (1, 'Ann', 'happy', 33, ('High Street', 7), 12.3400, 0.1, '{a,"b,c",null}',
         '{{1,2},{3,4}}', '{"b":1.0,"a":[1e2]}', '{"b":1.0, "a" : [1e2]}', '\\x00ff',
         '2026-02-03 04:05:06.789+01', '2026-02-03', '1 mon 2 days 03:04:05',
         '12345678-9abc-def0-1234-56789abcdef0', '10.0.0.1/32', '[1,5)', true),
        (2, 'Bob', null, null, null, 'NaN', 'infinity', '{}', null, null, null, null,
         'infinity', '-infinity', null, null, null, 'empty', false)""",
    "insert into people (id, name) values (3, 'Cy'), (4, 'Di')",
    "create table log (line text, level int)",
    "alter table log replica identity full",
    "insert into log values ('begun', 1), (null, 2)",
)
# One transaction: however it is read, it is under one checkpoint.
CHANGES = """
    insert into people (id, name, data) values (5, E'E\\\\ve "\\n', '{"new": null}');
    update people set mood = 'ok', balance = -0.5 where id = 2;
    update people set id = 30 where id = 3;
    delete from people where id = 4;
    insert into log values ('ended', 3);
    update log set level = 4 where line = 'begun';
    delete from log where line is null
"""
REPLACED = (
    (rb'"ts_ms":\d+', b'"ts_ms":"TIME"'),
    # It moves by itself, too: whoever else writes moves the server on.
    (rb'"cursor":"[0-9A-F]+/[0-9A-F]+",?', b""),
    (rb'"identity":"[^"]*"', b'"identity":"IDENTITY"'),
    (rb'"server":"[^"]*"', b'"server":"SERVER"'),
    (rb'"loc":\[-1,(\d+),\d+\]', rb'"loc":[-1,\1,"POSITION"]'),
    (rb'"loc":\[(\d{4,}),(\d+),(\d+)\]', b'"loc":["POSITION","POSITION","POSITION"]'),
)


class Recorded:
    """A reader or a writer that keeps what passes."""

    def __init__(self, stream, lines: list[bytes], mark: bytes) -> None:
        self._stream, self._lines, self._mark = stream, lines, mark

    async def read(self) -> bytes:
        block = await self._stream.read()
        self._keep(block)
        return block

    async def write(self, block: bytes) -> None:
        self._keep(block)
        await self._stream.write(block)

    def _keep(self, block: bytes) -> None:
        self._lines += [self._mark + line for line in block.splitlines()]

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


async def transcribed(source) -> bytes:
    """Hold the conversation; return it as people read it."""
    lines: list[bytes] = []

    async def serve(reader, writer) -> None:
        lines.append(b"")
        await capture.serve(Recorded(reader, lines, b"> "), Recorded(writer, lines, b"< "))

    source.runtime = CaptureRuntime(serve)
    source.advanced |= {"backfill_chunk_size": 3, "backfill_workers": 1, "source_tag": "golden"}
    source.run(*TABLES)
    await source.runtime.spec()
    built = await source.runtime.build(source.config)
    await source.runtime.apply(built)
    first = await source.caught_up(built)
    source.run(CHANGES)
    second = await source.caught_up(built, first.state)
    await source.caught_up(built, second.state)
    return b"\n".join(shown(line, source) for line in lines[1:]) + b"\n"


def shown(line: bytes, source) -> bytes:
    for name, what in (
        (source.cluster.address, b"ADDRESS"),
        (source.config["advanced"]["slotName"], b"SLOT"),
        (source.name, b"DATABASE"),
    ):
        line = line.replace(name.encode(), what)
    for pattern, replacement in REPLACED:
        line = re.sub(pattern, replacement, line)
    if line.startswith(b"> "):
        [[kind, request]] = msgspec.json.decode(line[2:]).items()
        return b"> " + msgspec.json.encode({kind: request.get("state", "...")})
    if line.startswith((b'< {"spec"', b'< {"discovered"')):
        return line[:2] + msgspec.json.format(line[2:], indent=2)
    return line


async def test_the_conversation_is_as_it_was_with_every_version(any_source):
    transcript = await transcribed(any_source)
    if os.environ.get("UPDATE_SNAPSHOTS") == "true":
        GOLDEN.write_bytes(transcript)
    assert transcript.decode() == GOLDEN.read_text(), "run with UPDATE_SNAPSHOTS=true if meant so"
