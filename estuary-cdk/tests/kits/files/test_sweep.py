"""Whatever a file and a process do, the collection ends equal to the file."""

import hashlib
from itertools import count

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from estuary_cdk.errors import DataError
from estuary_cdk.kits.files import (
    FileReader,
    ParserOptions,
    Plan,
    Records,
    Sweep,
    SweepState,
    Version,
    plan,
    sweep,
    tracked_keys,
    validators,
)

NAME = "f.csv"


class Crash(Exception):
    pass


def merged(state, patch):
    """JSON merge patch, as the runtime applies it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(state) if isinstance(state, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


class World:
    """A runtime's collection and committed state, and the connector's loop over them."""

    def __init__(self, key=None):
        self.key = key
        self.state = {}
        self.collection = {}
        self.emitted = []

    def commit(self, documents, patch, crashes):
        if next(crashes):
            raise Crash
        self.state = merged(self.state, patch)
        for raw in documents:
            document = msgspec.json.decode(raw)
            meta = document["_meta"]
            names = [pointer.removeprefix("/") for pointer in self.key or ()]
            key = tuple(document[n] for n in names) if names else (meta["file"], meta["offset"])
            if meta["op"] == "d":
                assert key in self.collection, "only what is there is deleted"
                del self.collection[key]
            else:
                self.collection[key] = {n: v for n, v in document.items() if n != "_meta"}
        self.emitted += documents

    def run(self, content, *, etag=None, block_bytes=7, crashes=None):
        crashes = crashes or iter(lambda: False, True)
        state = SweepState.model_validate(self.state)
        offer = Version(etag=etag)
        decision = plan(state, "r", offer)
        if decision is Plan.COMPARE:
            assert state.complete is not None
            decision = Plan.NOTHING if state.complete.sha256 == digest(content) else Plan.READ
        if decision is Plan.NOTHING:
            return decision
        self.read(Sweep(state, "r", NAME, self.key), content, offer, block_bytes, crashes)
        return decision

    def read(self, reading, content, offer, block_bytes, crashes):
        reader = FileReader(NAME, ParserOptions())
        for start in range(0, len(content), block_bytes):
            block = content[start : start + block_bytes]
            reading.advance(block)
            if reading.diverged:
                return self.read(reading.anew(), content, offer, block_bytes, crashes)
            documents = [d for r in reader.feed(block) for d in reading.documents(r)]
            self.commit(documents, reading.patch(), crashes)
        reading.end()
        if reading.diverged:
            return self.read(reading.anew(), content, offer, block_bytes, crashes)
        documents = [d for r in reader.finish() for d in reading.documents(r)]
        self.commit(documents, reading.patch(), crashes)
        for step in reading.finish(offer):
            self.commit(step.documents, step.patch, crashes)
        return None


def digest(content):
    return hashlib.sha256(content).hexdigest()


def expected(content, key):
    reader = FileReader(NAME, ParserOptions())
    bodies = [b for part in (reader.feed(content), reader.finish()) for r in part for b in r.bodies]
    documents = [msgspec.json.decode(b"{" + body) for body in bodies]
    if key is None:
        return {(NAME, offset): document for offset, document in enumerate(documents)}
    names = [pointer.removeprefix("/") for pointer in key]
    return {tuple(d[n] for n in names): d for d in documents}


rows = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["x", "yy", "z" * 9, "7"])))
# Enough text at the front that records are seen before the end of the file.
contents = rows.map(lambda r: ("id,v\n" + "\n".join(f"{i},{v}" for i, v in r)).encode())
tails = st.sampled_from([b"", b"\n", b"3\n", b"\n5,new\n6,new\n"])


@pytest.mark.parametrize("key", [None, ("/id",)])
@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_the_collection_ends_equal_to_the_file_whatever_happens(key, data):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sweep, "DELETIONS_PER_CHECKPOINT", 2)
        patched.setattr("estuary_cdk.kits.files.detection.HEAD_BYTES", 8)
        patched.setattr("estuary_cdk.kits.files.reading.HEAD_BYTES", 8)
        patched.setattr("estuary_cdk.kits.files.csv_rows.SAMPLE_CHARS", 16)
        patched.setattr("estuary_cdk.kits.files.csv_rows.BATCH_CHARS", 16)
        patched.setattr("estuary_cdk.kits.files.csv_rows.SAMPLE_ROWS", 2)
        patched.setattr(tracked_keys, "BLOCKS_MAX", 2)
        world = World(key)
        content = data.draw(contents)
        for _ in range(data.draw(st.integers(1, 6))):
            change = data.draw(st.sampled_from(["same", "append", "other"]))
            if change == "append":
                content += data.draw(tails)
            elif change == "other":
                content = data.draw(contents)
            survives = data.draw(st.integers(0, 12))
            crashes = (n >= survives for n in count())
            etag = data.draw(st.sampled_from([None, digest(content)]))
            block = data.draw(st.integers(3, 40))
            try:
                world.run(content, etag=etag, block_bytes=block, crashes=crashes)
            except Crash:
                continue
            assert world.collection == expected(content, key)
        world.run(content, block_bytes=11)
        assert world.collection == expected(content, key)
        emitted = len(world.emitted)
        assert world.run(content, etag=digest(content)) is Plan.NOTHING or not world.state.get(
            "complete", {}
        ).get("etag")
        assert len(world.emitted) == emitted


def json_rows(start, stop):
    return b"".join(b'{"id":%d}\n' % n for n in range(start, stop))


def read_lines(state, content, *, checkpoint_after=None, block_bytes=100, key=None):
    """Return the documents a read emits and its state, until a crash after some checkpoints."""
    reading = Sweep(SweepState.model_validate(state), "r", "f.jsonl", key)
    reader = FileReader("f.jsonl", ParserOptions())
    emitted = []
    for number, start in enumerate(range(0, len(content), block_bytes)):
        if number == checkpoint_after:
            return emitted, state, reading
        block = content[start : start + block_bytes]
        reading.advance(block)
        if reading.diverged:
            return emitted, state, reading
        emitted += [d for r in reader.feed(block) for d in reading.documents(r)]
        state = merged(state, reading.patch())
    reading.end()
    emitted += [d for r in reader.finish() for d in reading.documents(r)]
    for step in reading.finish(Version(etag='"1"')):
        emitted += step.documents
        state = merged(state, step.patch)
    return emitted, state, reading


def test_a_read_that_was_cut_off_resumes_without_emitting_anything_twice():
    content = json_rows(0, 1000)
    first, state, _ = read_lines({}, content, checkpoint_after=60)
    second, state, _ = read_lines(state, content)
    assert 400 < len(first) < 1000
    offsets = [msgspec.json.decode(d)["_meta"]["offset"] for d in first + second]
    assert offsets == list(range(1000))


def test_a_file_that_changed_since_the_cut_diverges_before_anything_is_passed_over():
    _, state, _ = read_lines({}, json_rows(0, 1000), checkpoint_after=60)
    emitted, _, reading = read_lines(state, json_rows(1, 1001))
    assert reading.diverged
    assert emitted == []


def test_rows_that_a_shorter_file_lost_are_deleted():
    _, state, _ = read_lines({}, json_rows(0, 400))
    emitted, state, _ = read_lines(state, json_rows(0, 398))
    assert emitted[-2:] == [
        b'{"_meta":{"op":"d","file":"f.jsonl","offset":398}}',
        b'{"_meta":{"op":"d","file":"f.jsonl","offset":399}}',
    ]
    assert state["present"] == {"f.jsonl": 398}


def test_a_vanished_key_is_deleted_by_its_key():
    _, state, _ = read_lines({}, json_rows(0, 400), key=("/id",))
    emitted, _, _ = read_lines(state, json_rows(1, 400), key=("/id",))
    assert emitted[-1] == b'{"_meta":{"op":"d","file":"f.jsonl","offset":-1},"id":0}'
    assert emitted[0].startswith(b'{"_meta":{"op":"u"')


def test_a_document_read_again_is_an_update_and_a_new_one_a_creation():
    _, state, _ = read_lines({}, json_rows(0, 2))
    emitted, _, _ = read_lines(state, json_rows(0, 3))
    assert [msgspec.json.decode(d)["_meta"]["op"] for d in emitted] == ["u", "u", "c"]


def test_too_many_keys_end_tracking_and_say_so(monkeypatch):
    monkeypatch.setattr(tracked_keys, "KEYS_MAX", 100)
    _, state, reading = read_lines({}, json_rows(0, 101), key=("/id",))
    assert reading.untracked
    assert state["untracked"] is True
    assert state["keys"] == {}
    emitted, _, reading = read_lines(state, json_rows(5, 10), key=("/id",))
    assert reading.untracked
    assert [msgspec.json.decode(d)["id"] for d in emitted] == [5, 6, 7, 8, 9]


def test_a_record_without_its_key_is_an_error_that_names_it():
    reading = Sweep(SweepState(), "r", "f", ("/id",))
    with pytest.raises(DataError, match=r"record 1 of 'f'.* at its key /id"):
        reading.documents(Records("f", 0, [b'"id":1}', b'"id":null}']))


def test_spelling_a_key_differently_is_the_same_key():
    _, state, _ = read_lines({}, b'{"id":1,"s":"A"}', key=("/id", "/s"))
    emitted, _, _ = read_lines(state, b'{"id":1.0,"s":"\\u0041"}', key=("/id", "/s"))
    assert [msgspec.json.decode(d)["_meta"]["op"] for d in emitted] == ["u"]


STATE = SweepState(recipe="r", complete=Version(etag='W/"1"', last_modified="Mon", sha256="abc"))


@pytest.mark.parametrize(
    ("offer", "decision"),
    [
        (Version(etag='"1"'), Plan.NOTHING),
        (Version(etag='"2"', last_modified="Mon"), Plan.READ),
        (Version(last_modified="Mon"), Plan.NOTHING),
        (Version(last_modified="Tue"), Plan.READ),
        (Version(), Plan.COMPARE),
    ],
)
def test_the_plan_follows_the_strongest_validator_both_sides_have(offer, decision):
    assert plan(STATE, "r", offer) is decision


def test_another_recipe_reads_the_file_again_and_asks_for_no_change():
    assert plan(STATE, "other", Version(etag='"1"')) is Plan.READ
    assert validators(STATE, "other") is None


def test_a_stored_state_can_still_be_read():
    stored = {
        "recipe": "r",
        "complete": {"etag": '"1"', "sha256": "abc"},
        "reading": {"records": 3, "bytes": 30, "sha256": "def"},
        "present": {"f.csv": 3},
        "keys": {"0": "eJwLAgAAUwBT"},
        "untracked": False,
    }
    assert SweepState.model_validate(stored).present == {"f.csv": 3}
