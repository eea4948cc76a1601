"""Whatever is killed, and whenever: what was committed adds up to the tables.

The tables are of every mode and replica identity, in one capture, and written to all the while.
STRESS_ROUNDS in the environment makes it longer, STRESS_SEED repeats a run.
"""

import os
import random
import time
from contextlib import contextmanager

import msgspec
import pytest
from source_databases import opened
from stress_processes import CONNECTOR, DESTINATION, RUNTIME, Pipeline, SmallRuntime
from stress_tables import KINDS, Writer, folded, judge

from estuary_cdk.testing.postgres import versions

ROUNDS = int(os.environ.get("STRESS_ROUNDS", "6"))
WALSENDER = "walsender"


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("STRESS_SEED", random.SystemRandom().randrange(10**6)))


async def captured(source):
    """Make the tables; return the capture of all of them, in the order of KINDS."""
    source.run("create publication flow_publication with (publish_via_partition_root = true)")
    for kind in KINDS:
        # Those without a replica identity aren't published but by hand.
        source.run(*kind.statements, f"alter publication flow_publication add table {kind.name}")
    # Chunks are few enough rows that backfills outlast most processes.
    source.advanced["backfill_chunk_size"] = 40
    built = await source.runtime.build(source.config)
    bindings = {binding.resource_path[-1]: binding for binding in built.bindings}
    chosen = []
    for kind in KINDS:
        binding = bindings[kind.name]
        resource = msgspec.json.decode(binding.resource_config) | {"mode": kind.mode}
        raw = msgspec.Raw(msgspec.json.encode(resource))
        chosen.append(msgspec.structs.replace(binding, resource_config=raw))
    return msgspec.structs.replace(built, bindings=chosen)


def end_walsender(source) -> None:
    with source.cluster_connection() as connection:
        connection.execute(
            b"select pg_terminate_backend(active_pid) from pg_replication_slots "
            b"where slot_name = %s and active",
            [source.advanced["slotName"]],
        )


@pytest.mark.crash
async def test_whatever_is_killed_the_collections_equal_the_tables(clusters, seed):
    # Every version gets its turn.
    version = sorted(versions())[seed % len(versions())]
    with contextmanager(opened)(clusters.of(version)) as source:
        await collections_equal_the_tables(source, seed)


async def collections_equal_the_tables(source, seed):
    chance = random.Random(seed)
    built = await captured(source)
    runtime = SmallRuntime(built)
    since = {}
    with Writer(source.cluster_connection, seed) as writer:
        for _ in range(ROUNDS):
            runtime.run(
                0.1 + 1.5 * chance.random(),
                meanwhile=lambda: end_walsender(source),
                meanwhile_s=2 * chance.random(),
            )
            for kind, binding in zip(KINDS, built.bindings, strict=True):
                if runtime.active(binding.state_key):
                    since.setdefault(kind, writer.v)
    assert writer.error is None, writer.error
    runtime.run()
    got = {
        kind: folded(documents, has_key=kind.has_key)
        for kind, documents in zip(KINDS, runtime.documents, strict=True)
    }
    since = {kind: since.get(kind, writer.v) for kind in KINDS}
    assert judge(source.run, got, since) == {}, f"STRESS_SEED={seed}"


@pytest.mark.crash
async def test_whatever_is_killed_the_destination_equals_the_source(source, seed, tmp_path):
    chance = random.Random(seed)
    pipeline = Pipeline(tmp_path, await captured(source))
    killed = dict.fromkeys((CONNECTOR, RUNTIME, DESTINATION, WALSENDER), 0)
    since = {}
    try:
        with Writer(source.cluster_connection, seed) as writer:
            for _ in range(ROUNDS):
                pipeline.start()
                victim = chance.choices(list(killed), [3, 3, 1, 2])[0]
                wait_until_streaming(source)
                time.sleep(chance.random() * 1.5)
                if victim == WALSENDER:
                    end_walsender(source)
                    killed[victim] += 1
                else:
                    killed[victim] += pipeline.kill(victim)
                for kind in KINDS:
                    if kind not in since and pipeline.rows(kind.name, ["id"]):
                        since[kind] = writer.v
        assert writer.error is None, writer.error
        pipeline.settle()
        assert sum(killed.values()) >= ROUNDS / 2, pipeline.said()
        got = {kind: pipeline.rows(kind.name, ["id", "v", "long"]) for kind in KINDS}
        since = {kind: since.get(kind, writer.v) for kind in KINDS}
        assert judge(source.run, got, since) == {}, f"STRESS_SEED={seed} {killed}"
    finally:
        pipeline.end()


def wait_until_streaming(source) -> None:
    """Wait a while for the capture to be at work; killed in a row, it takes its time to restart."""
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline:
        if source.run("select from pg_replication_slots where active"):
            return
        time.sleep(0.05)
