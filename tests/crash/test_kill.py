"""Killed at any moment, whoever is killed, the destination ends up equal to the source."""

import importlib.util
import os
import random
import sys
import time
from pathlib import Path

import pytest

from estuary_cdk.testing.patience import HANGS_S, bound_s

_spec = importlib.util.spec_from_file_location("pipeline", Path(__file__).with_name("pipeline.py"))
assert _spec is not None
assert _spec.loader is not None
pipeline = importlib.util.module_from_spec(_spec)
sys.modules["pipeline"] = pipeline
_spec.loader.exec_module(pipeline)

KILLS = int(os.environ.get("CRASH_KILLS", "200"))
# As many tests share them and run side by side, the last of them with shards.
PARTS = 4
AGE_S_MAX = 2.0
PATIENCE_S = 4
PATIENCE_S_MAX = HANGS_S


@pytest.mark.crash
@pytest.mark.parametrize("part", range(PARTS - 1))
def test_whoever_is_killed_whenever_the_table_equals_the_source(part, tmp_path) -> None:
    _kill(KILLS // PARTS, tmp_path, part)


@pytest.mark.crash
def test_whoever_is_killed_the_table_equals_the_source_with_shards_that_come_and_go(
    tmp_path,
) -> None:
    _kill(KILLS // PARTS, tmp_path, PARTS - 1, files=5, shards=3)


def _kill(kills: int, tmp_path: Path, part: int, *, files: int = 1, shards: int = 1) -> None:
    """Kill so many processes and compare; tasks have up to so many shards, other ones each time."""
    seed = pipeline.seed() + part
    chance = random.Random(seed)
    table = pipeline.Table(chance)
    for _ in range(20):
        table.change()
    server = pipeline.FileServer(table)
    run = pipeline.Pipeline(tmp_path, server.url, files)
    killed = dict.fromkeys((pipeline.SOURCE, pipeline.DESTINATION, pipeline.RUNTIME), 0)
    victims = _dealt(chance)

    def start() -> None:
        run.write(min(2, shards), chance.randint(min(2, shards), shards))
        run.start()

    try:
        while sum(killed.values()) < kills:
            if not run.alive():
                start()
            if chance.random() < 0.3:
                with server.lock:
                    table.change()
            victim = victims.pop()
            if not victims:
                victims = _dealt(chance)
            deadline = time.monotonic() + PATIENCE_S_MAX
            impatient = time.monotonic() + bound_s(PATIENCE_S)
            # Processes that only answer a question die young, those that move documents old.
            age_s = chance.uniform(0, AGE_S_MAX)
            while not run.kill(victim, age_s):
                assert time.monotonic() < deadline, f"no {victim} to kill: {run.said()}"
                time.sleep(0.05)
                age_s = chance.uniform(0, AGE_S_MAX)  # Few grow so old that they die at the first.
                if time.monotonic() > impatient:
                    # Killed often in a row, a task waits longer and longer: begin anew.
                    victim, age_s = pipeline.RUNTIME, 0.0
                if not run.alive():
                    start()
            killed[victim] += 1
        run.settle()
        assert run.rows() == table.expected(), f"CRASH_SEED={seed - part} {killed}"
        assert min(killed.values()) >= kills // 10
    finally:
        run.kill(pipeline.RUNTIME)
        server.close()


def _dealt(chance: random.Random) -> list[str]:
    """Return whom to kill in the next ten turns: each as often as is worth it, in any order."""
    cards = [pipeline.SOURCE] * 4 + [pipeline.DESTINATION] * 4 + [pipeline.RUNTIME] * 2
    chance.shuffle(cards)
    return cards


@pytest.mark.crash
def test_a_second_run_finds_nothing_new(tmp_path) -> None:
    table = pipeline.Table(random.Random(1))
    table.change()
    server = pipeline.FileServer(table)
    run = pipeline.Pipeline(tmp_path, server.url)
    try:
        run.settle()
        before = run.journals()
        assert before
        run.settle()
        assert run.rows() == table.expected()
        assert run.journals() == before
    finally:
        server.close()
