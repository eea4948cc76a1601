"""The checkpoints table: fences over key ranges, splits, joins and zombies, on a real database."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError, Fenced
from estuary_cdk.kits.sql import ANSI, Fence, commit_checkpoint, install_fence, statements
from estuary_cdk.materialize import Shard

END = 0xFFFFFFFF
HALF = 0x7FFFFFFF


def whole(task: str = "acme/task") -> Shard:
    return Shard(task, 0, END)


@pytest.fixture
def db():
    connection = sqlite3.connect(":memory:")
    connection.execute(statements.create_checkpoints(ANSI))
    yield connection
    connection.close()


def commit(db: sqlite3.Connection, fence: Fence, text: bytes) -> None:
    commit_checkpoint(db, ANSI, fence, text)


def rows(db: sqlite3.Connection) -> list[tuple[object, ...]]:
    return db.execute("SELECT * FROM flow_checkpoints_v1 ORDER BY 1, 2, 3").fetchall()


def test_the_first_fence_finds_no_checkpoint_and_claims_its_range(db):
    assert install_fence(db, ANSI, whole()) == Fence(whole(), 0, b"")
    assert rows(db) == [("acme/task", 0, END, 0, "")]


def test_a_checkpoint_comes_back_byte_for_byte(db):
    text = '{"sources":{"a;b":{"readThrough":"1","x":1.0,"ü":[ 1e3 ]}}}'.encode()
    commit(db, install_fence(db, ANSI, whole()), text)
    assert install_fence(db, ANSI, whole()).checkpoint == text


def test_a_zombie_is_fenced(db):
    zombie = install_fence(db, ANSI, whole())
    commit(db, zombie, b'{"n":1}')
    install_fence(db, ANSI, whole())
    with pytest.raises(Fenced, match="another instance"):
        commit(db, zombie, b'{"n":2}')
    assert rows(db) == [("acme/task", 0, END, 1, '{"n":1}')]


def test_a_split_takes_over_the_checkpoint_and_fences_the_parent(db):
    parent = install_fence(db, ANSI, whole())
    commit(db, parent, b'{"n":1}')
    left = install_fence(db, ANSI, Shard("acme/task", 0, HALF))
    right = install_fence(db, ANSI, Shard("acme/task", HALF + 1, END))
    assert left.checkpoint == right.checkpoint == b'{"n":1}'
    with pytest.raises(Fenced):
        commit(db, parent, b'{"n":2}')
    commit(db, left, b'{"left":1}')
    commit(db, right, b'{"right":1}')
    assert [row[1:3] for row in rows(db)] == [(0, HALF), (0, END), (HALF + 1, END)]


def test_halves_do_not_fence_each_other(db):
    left = install_fence(db, ANSI, Shard("acme/task", 0, HALF))
    install_fence(db, ANSI, Shard("acme/task", HALF + 1, END))
    commit(db, left, b"{}")


def test_a_join_finds_its_own_older_row_and_fences_the_halves(db):
    commit(db, install_fence(db, ANSI, whole()), b'{"n":1}')
    left = install_fence(db, ANSI, Shard("acme/task", 0, HALF))
    joined = install_fence(db, ANSI, whole())
    assert joined.checkpoint == b'{"n":1}'
    with pytest.raises(Fenced):
        commit(db, left, b"{}")


def test_the_narrowest_covering_row_is_the_one_inherited(db):
    commit(db, install_fence(db, ANSI, whole()), b'{"from":"whole"}')
    commit(db, install_fence(db, ANSI, Shard("acme/task", 0, HALF)), b'{"from":"half"}')
    assert install_fence(db, ANSI, Shard("acme/task", 5, 9)).checkpoint == b'{"from":"half"}'


def test_tasks_do_not_fence_each_other(db):
    one = install_fence(db, ANSI, whole("it's"))
    install_fence(db, ANSI, whole("another"))
    commit(db, one, b"{}")


def test_a_checkpoint_in_another_encoding_is_told(db):
    row = ("acme/task", 0, END, 3, "CgVmb28=")
    db.execute("INSERT INTO flow_checkpoints_v1 VALUES (?, ?, ?, ?, ?)", row)
    with pytest.raises(ConfigError, match="isn't JSON"):
        install_fence(db, ANSI, whole())


def test_the_table_may_be_created_again(db):
    install_fence(db, ANSI, whole())
    db.execute(statements.create_checkpoints(ANSI))
    assert len(rows(db)) == 1


RANGES = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted)


@given(st.lists(RANGES, min_size=1, max_size=8))
def test_only_the_last_to_open_a_range_may_commit(ranges):
    db = sqlite3.connect(":memory:")
    try:
        db.execute(statements.create_checkpoints(ANSI))
        fences = [install_fence(db, ANSI, Shard("t", begin, end)) for begin, end in ranges]
        for index, (fence, (begin, end)) in enumerate(zip(fences, ranges, strict=True)):
            later = ranges[index + 1 :]
            if any(other[0] <= end and other[1] >= begin for other in later):
                with pytest.raises(Fenced):
                    commit(db, fence, b"{}")
            else:
                commit(db, fence, b"{}")
    finally:
        db.close()
