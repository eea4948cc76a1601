"""Whatever happens to the files of a store, the collection ends equal to them."""

import asyncio
import re
from datetime import timedelta
from itertools import count

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.capture.state import merged
from estuary_cdk.errors import DataError, TransientError
from estuary_cdk.kits.files import following as following_module
from estuary_cdk.kits.files import outbox
from estuary_cdk.kits.files.folder import Folder, FolderState
from estuary_cdk.kits.files.following import Following, Selection
from estuary_cdk.kits.files.memory_store import MemoryStore
from estuary_cdk.kits.files.reading import FileReader
from estuary_cdk.testing.clock import START


class Crash(Exception):
    pass


def never():
    return iter(lambda: False, True)


class World:
    """A store, and a runtime's collection and committed state."""

    def __init__(self, key=None, *, ascending=False, **selection):
        self.store = MemoryStore()
        self.key = key
        self.ascending = ascending
        self.selection = Selection(**{"on_delete": "delete", **selection})
        self.state = {}
        self.collection = {}
        self.documents = []

    async def sweep(self, crashes=None, owns=lambda _: True):
        crashes = never() if crashes is None else crashes
        self.documents = []

        async def commit(documents, patch, schemas):
            await asyncio.sleep(0)
            if next(crashes):
                raise Crash
            self.state = merged(msgspec.json.decode(msgspec.json.encode(self.state)), patch)
            self.take(documents)

        state = FolderState.model_validate(self.state)
        folder = Folder(state, "recipe", self.key, ascending=self.ascending)
        return await Following(self.store, folder, self.selection, commit, owns).sweep()

    def take(self, documents):
        for raw in documents:
            document = msgspec.json.decode(raw)
            meta = document.pop("_meta")
            self.documents.append((meta["op"], meta["file"], meta["offset"]))
            names = [pointer.removeprefix("/") for pointer in self.key or ()]
            key = tuple(document[n] for n in names) if names else (meta["file"], meta["offset"])
            if meta["op"] == "d":
                assert key in self.collection, "only what is there is deleted"
                del self.collection[key]
            else:
                self.collection[key] = document

    def held(self):
        """Return every document of every file with its key."""
        for path, content in sorted(self.store.contents.items()):
            for offset, document in enumerate(parsed(path, content)):
                names = [pointer.removeprefix("/") for pointer in self.key or ()]
                yield tuple(document[n] for n in names) if names else (path, offset), document

    def is_equal(self):
        """Tell whether the collection has each key of the files, with a document that has it.

        Where deleted files' documents are kept, those may be there too, and no others.
        """
        possible = {}
        if self.selection.on_delete == "keep":
            there = self.store.contents
            assert self.key is None, "whose a key is can't be told"
            present = {key: each for key, each in self.collection.items() if key[0] in there}
            return present == dict(self.held())
        for key, document in self.held():
            possible.setdefault(key, []).append(document)
        return possible.keys() == self.collection.keys() and all(
            document in possible[key] for key, document in self.collection.items()
        )


def parsed(path, content):
    reader = FileReader(path, Selection().parser)
    parts = [*reader.feed(content), *reader.finish()]
    return [msgspec.json.decode(b"{" + body) for part in parts for body in part.bodies]


def lines(*rows):
    return b"".join(msgspec.json.encode({"id": i, "v": v}) + b"\n" for i, v in rows)


rows = st.lists(st.tuples(st.integers(0, 9), st.sampled_from("xyz")), max_size=8)
contents = rows.map(lambda each: lines(*each))
paths = st.sampled_from([f"{name}.jsonl" for name in ("a", "b/1", "b/2", "c", "d")])

changes = st.tuples(paths, st.none() | contents, st.integers(-9, 9))


@pytest.fixture
def small(monkeypatch):
    shrink(monkeypatch)


def shrink(patched):
    patched.setattr(outbox, "CHECKPOINT_DOCUMENTS", 3)
    patched.setattr("estuary_cdk.kits.files.sweep.DELETIONS_PER_CHECKPOINT", 2)
    patched.setattr("estuary_cdk.kits.files.stores.RANGE_BYTES", 50)
    patched.setattr("estuary_cdk.kits.files.folder.BLOCK_FILES", 2)
    patched.setattr("estuary_cdk.kits.files.reading.HEAD_BYTES", 8)
    patched.setattr("estuary_cdk.kits.files.detection.HEAD_BYTES", 8)


@pytest.mark.parametrize(
    ("key", "on_delete"), [(None, "delete"), (None, "keep"), (("/id",), "delete")]
)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_the_collection_ends_equal_to_the_files_whatever_happens(key, on_delete, data):
    with pytest.MonkeyPatch.context() as patched:
        shrink(patched)
        world = World(key, on_delete=on_delete)

        def change(path, content, days):
            if content is not None or path not in world.store.contents:
                # Clocks step: what a file says of its time means nothing.
                modified = START + timedelta(days=days)
                world.store.put(path, content or b"", modified=modified)
            else:
                world.store.remove(path)

        for _ in range(data.draw(st.integers(1, 5))):
            for each in data.draw(st.lists(changes, max_size=4)):
                change(*each)
            meanwhile = iter(data.draw(st.lists(st.none() | changes, max_size=12)))
            world.store.before_read = lambda _, meanwhile=meanwhile: (
                change(*each) if (each := next(meanwhile, None)) else None
            )
            survives = data.draw(st.integers(0, 12))
            try:
                asyncio.run(world.sweep(n >= survives for n in count()))
            except* Crash:
                pass
        world.store.before_read = None
        asyncio.run(world.sweep())
        assert world.is_equal()
        asyncio.run(world.sweep())
        assert world.documents == []
        assert not world.state.get("reading")


async def test_a_file_that_changed_is_read_again_and_its_vanished_rows_are_deleted():
    world = World()
    world.store.put("a.jsonl", lines((1, "x"), (2, "x")))
    world.store.put("b.jsonl", lines((3, "x")))
    await world.sweep()
    world.store.put("a.jsonl", lines((1, "y")))
    await world.sweep()
    assert world.documents == [("u", "a.jsonl", 0), ("d", "a.jsonl", 1)]


@pytest.mark.parametrize(("on_delete", "left"), [("keep", 1), ("delete", 0)])
async def test_a_deleted_file_deletes_its_rows_if_asked(on_delete, left):
    world = World(on_delete=on_delete)
    world.store.put("a.jsonl", lines((1, "x")))
    await world.sweep()
    world.store.remove("a.jsonl")
    await world.sweep()
    assert len(world.collection) == left


async def test_a_file_that_changes_while_it_is_read_starts_again_and_is_never_mixed(small):
    world = World()
    world.store.put("a.jsonl", lines(*[(n, "x") for n in range(50)]))

    def change(path):
        if len(world.store.reads) == 10:
            world.store.put(path, lines(*[(n, "y") for n in range(40)]))

    world.store.before_read = change
    await world.sweep()
    assert world.is_equal()
    assert {document["v"] for document in world.collection.values()} == {"y"}
    assert {op for op, _, _ in world.documents} == {"c", "u"}


async def test_a_file_that_keeps_changing_is_left_to_the_next_sweep(small):
    world = World()
    world.store.put("a.jsonl", lines((0, "x")))
    world.store.put("b.jsonl", lines((1, "x")))
    sizes = count(1)

    def grow(path):
        if path == "a.jsonl":
            world.store.put(path, lines(*[(n, "x") for n in range(next(sizes))]))

    world.store.before_read = grow
    assert (await world.sweep()).unsettled == 1
    assert ("b.jsonl", 0) in world.collection
    world.store.before_read = None
    assert (await world.sweep()).unsettled == 0
    assert world.is_equal()


async def test_an_ascending_file_that_keeps_changing_stops_the_sweep():
    world = World(ascending=True)
    world.store.put("a.jsonl", lines((0, "x")))
    world.store.put("b.jsonl", lines((1, "x")))
    versions = count()
    world.store.before_read = lambda path: world.store.put(path, lines((next(versions), "x")))
    with pytest.RaisesGroup(TransientError, flatten_subgroups=True):
        await world.sweep()
    assert not any(path == "b.jsonl" for path, _ in world.collection)


async def test_a_late_file_with_an_old_date_is_found():
    world = World()
    world.store.put("b.jsonl", lines((1, "x")))
    await world.sweep()
    world.store.put("a.jsonl", lines((2, "x")), modified=START - timedelta(days=999))
    await world.sweep()
    assert len(world.collection) == 2


async def test_a_read_that_was_cut_off_goes_on_after_what_it_emitted(small):
    world = World()
    world.store.put("a.jsonl", lines(*[(n, "x") for n in range(50)]))
    with pytest.RaisesGroup(Crash, flatten_subgroups=True):
        await world.sweep(n >= 5 for n in count())
    before = len(world.collection)
    await world.sweep()
    assert 0 < before < 50
    assert len(world.documents) == 50 - before


async def test_ascending_files_are_read_once_and_only_behind_the_last():
    world = World(ascending=True)
    world.store.put("b.jsonl", lines((1, "x")))
    await world.sweep()
    world.store.put("a.jsonl", lines((2, "x")))
    world.store.put("c.jsonl", lines((3, "x")))
    await world.sweep()
    assert world.documents == [("c", "c.jsonl", 0)]
    assert world.state == {"after": "c.jsonl"}


@pytest.mark.parametrize("on_delete", ["keep", "delete"])
async def test_an_ascending_file_that_goes_while_it_is_read_leaves_no_state(small, on_delete):
    world = World(ascending=True, on_delete=on_delete)
    world.store.put("a.jsonl", lines(*[(n, "x") for n in range(50)]))
    with pytest.RaisesGroup(Crash, flatten_subgroups=True):
        await world.sweep(n >= 1 for n in count())
    assert world.state["reading"]
    world.store.remove("a.jsonl")
    await world.sweep()
    assert not world.state.get("reading")
    assert not world.state.get("read")
    assert bool(world.collection) == (on_delete == "keep")


async def test_an_ascending_file_that_fails_is_not_passed_over():
    world = World(ascending=True)
    world.store.put("a.jsonl", b"{")
    world.store.put("b.jsonl", lines((1, "x")))
    with pytest.RaisesGroup(DataError, flatten_subgroups=True):
        await world.sweep()
    assert world.collection == {}


async def test_shards_split_the_files_and_leave_each_others_alone():
    first, second = World(), World()
    second.store = first.store
    for name in "abcdef":
        first.store.put(f"{name}.jsonl", lines((1, name)))
    await first.sweep(owns=lambda path: path < "d")
    await second.sweep(owns=lambda path: path >= "d")
    assert len(first.collection) == len(second.collection) == 3
    second.state = first.state
    second.collection = {}
    await second.sweep(owns=lambda path: path >= "d")
    assert [op for op, _, _ in second.documents] == ["c", "c", "c"]


async def test_a_bad_file_fails_the_sweep_after_the_others_were_read():
    world = World()
    world.store.put("a.jsonl", b"{")
    world.store.put("b.jsonl", lines((1, "x")))
    with pytest.raises(DataError, match=r"can't read 'a\.jsonl' line 1"):
        await world.sweep()
    assert len(world.collection) == 1


async def test_a_bad_file_is_left_out_until_it_changes_if_asked():
    world = World(on_error="skip")
    world.store.put("a.jsonl", b"{")
    world.store.put("b.jsonl", lines((1, "x")))
    outcome = await world.sweep()
    assert len(outcome.skipped) == 1
    assert (await world.sweep()).skipped == []
    world.store.put("a.jsonl", lines((2, "x")))
    await world.sweep()
    assert world.is_equal()


async def test_files_left_out_stay_counted_until_they_change_or_go():
    world = World(on_error="skip", on_delete="keep")
    world.store.put("a.jsonl", b"{")
    world.store.put("b.jsonl", b"{")
    world.store.put("c.jsonl", lines((1, "x")))
    await world.sweep()
    outcome = await world.sweep()
    assert (outcome.left_out, outcome.skipped) == (2, [])
    assert "can't read 'a.jsonl' line 1" in outcome.trouble
    world.store.put("a.jsonl", lines((2, "x")))
    assert (await world.sweep()).left_out == 1
    world.store.remove("b.jsonl")
    assert (await world.sweep()).left_out == 0
    assert (await world.sweep()).left_out == 0


async def test_no_more_files_are_left_out_over_several_sweeps_than_in_one(monkeypatch):
    monkeypatch.setattr(following_module, "FAILURES_MAX", 2)
    world = World(on_error="skip")
    for name in "ab":
        world.store.put(f"{name}.jsonl", b"{")
        await world.sweep()
    world.store.put("c.jsonl", b"{")
    with pytest.RaisesGroup(DataError, flatten_subgroups=True):
        await world.sweep()


async def test_a_file_that_was_emptied_loses_its_rows_and_no_empty_file_is_fetched():
    world = World(on_delete="keep")
    world.store.put("a.jsonl", lines((1, "x"), (2, "x")))
    world.store.put("empty.jsonl.gz", b"")
    await world.sweep()
    world.store.put("a.jsonl", b"")
    world.store.reads.clear()
    await world.sweep()
    assert world.collection == {}
    assert world.store.reads == []
    known = Folder(FolderState.model_validate(world.state), "r").gone(set())
    assert [work.path for work in known] == ["a.jsonl"], "an empty file costs no state"


async def test_too_many_bad_files_stop_the_sweep(monkeypatch):
    monkeypatch.setattr(following_module, "FAILURES_MAX", 2)
    world = World(on_error="skip")
    for n in range(5):
        world.store.put(f"{n}.jsonl", b"{")
    with pytest.raises(ExceptionGroup):
        await world.sweep()


async def test_a_key_that_another_file_holds_is_not_deleted_but_read_again():
    world = World(("/id",))
    world.store.put("a.jsonl", lines((1, "x")))
    world.store.put("b.jsonl", lines((1, "y"), (2, "y")))
    await world.sweep()
    world.store.put("b.jsonl", lines((2, "y")))
    await world.sweep()
    assert world.collection[(1,)] == {"id": 1, "v": "x"}


async def test_small_files_share_checkpoints_and_the_state_stays_small():
    world = World()
    for n in range(600):
        world.store.put(f"logs/2026/{n:06}.jsonl", lines((n, "x")))
    commits = count()
    crashes = (next(commits) < 0 for _ in count())
    await world.sweep(crashes)
    assert next(commits) <= 2
    assert len(msgspec.json.encode(world.state)) < 40_000


async def test_files_are_chosen_by_prefix_pattern_and_date():
    world = World(prefix="in/", match=re.compile(r"\.jsonl$"), since=START)
    world.store.put("in/a.jsonl", lines((1, "x")))
    world.store.put("in/a.txt", b"no")
    world.store.put("in/", b"a folder")
    world.store.put("in/old.jsonl", lines((1, "x")), modified=START - timedelta(seconds=1))
    world.store.put("in/empty.jsonl", b"")
    world.store.put("out/a.jsonl", lines((1, "x")))
    await world.sweep()
    assert list(world.collection) == [("in/a.jsonl", 0)]
