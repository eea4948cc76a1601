"""Files that are sought in are fetched by ranges of one version, and nothing waits for ever."""

import asyncio
import io

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.capture.state import merged
from estuary_cdk.errors import DataError, TransientError
from estuary_cdk.kits.files import (
    FileChanged,
    FileReader,
    ParserOptions,
    arrow_files,
    arrow_rows,
    fetching,
    outbox,
    ranged,
    stores,
)
from estuary_cdk.kits.files.fetching import contents
from estuary_cdk.kits.files.folder import Folder, FolderState
from estuary_cdk.kits.files.following import Following, Selection
from estuary_cdk.kits.files.local_store import LocalStore
from estuary_cdk.kits.files.memory_store import MemoryStore

ROWS = 3000


def table(rows=ROWS, version="v"):
    sink = io.BytesIO()
    made = pa.table({"id": range(rows), "v": [f"{version}{n}" for n in range(rows)]})
    pq.write_table(made, sink, row_group_size=500, use_dictionary=False, compression="none")
    return sink.getvalue()


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(stores, "RANGE_BYTES", 1000)
    monkeypatch.setattr(ranged, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(ranged, "BLOCKS_KEPT", 6)
    monkeypatch.setattr(arrow_files, "GROUPS_BYTES", 20_000)
    monkeypatch.setattr(arrow_rows, "SLICE_ROWS_MAX", 100)


@pytest.fixture
def store():
    made = MemoryStore()
    made.put("f.parquet", table())
    return made


async def rows(store, path="f.parquet"):
    file = await store.look(path)
    reader = FileReader(path, ParserOptions())
    return [
        msgspec.json.decode(b"{" + body)
        async for stretch in contents(store, file, reader)
        for records in stretch.records
        for body in records.bodies
    ]


@given(st.data())
def test_any_read_gives_what_stands_there(data):
    content = bytes(range(256)) * 8

    async def check():
        store = MemoryStore()
        store.put("f", content)
        file = await store.look("f")
        loop = asyncio.get_running_loop()
        with pytest.MonkeyPatch.context() as patch, ranged.ranged(store, file) as opened:
            patch.setattr(ranged, "BLOCK_BYTES", data.draw(st.integers(1, 700)))
            patch.setattr(ranged, "BLOCKS_KEPT", data.draw(st.integers(5, 8)))
            for _ in range(data.draw(st.integers(1, 6))):
                start = data.draw(st.integers(0, len(content) + 10))
                size = data.draw(st.integers(-1, len(content)))
                opened.seek(start)
                found = await loop.run_in_executor(None, opened.read, size)
                assert found == content[start : None if size < 0 else start + size]
                assert opened.tell() == start + len(found)

    asyncio.run(check())


async def test_a_large_table_is_fetched_by_ranges_and_never_whole(store, small):
    found = await rows(store)
    assert found == [{"id": n, "v": f"v{n}"} for n in range(ROWS)]
    assert len(store.reads) > 20


@pytest.mark.parametrize(("kept", "times"), [(1, 5), (40, 2.2)])
async def test_no_block_is_fetched_many_times(store, small, monkeypatch, kept, times):
    monkeypatch.setattr(ranged, "BLOCKS_KEPT", kept)
    await rows(store)
    blocks = len(store.contents["f.parquet"]) // ranged.BLOCK_BYTES
    assert len(store.reads) < times * blocks, "Arrow reads once for the footer, once for the rows"


async def test_a_directorys_files_do_not_wait_for_each_others_threads(tmp_path, small):
    for n in range(12):
        (tmp_path / f"{n}.parquet").write_bytes(table(600))
    store = LocalStore(tmp_path)
    async with asyncio.timeout(30):
        found = await asyncio.gather(*(rows(store, f"{n}.parquet") for n in range(12)))
    assert [len(each) for each in found] == [600] * 12


async def test_few_files_are_sought_in_at_a_time(store, small):
    paths = [f"{n}.parquet" for n in range(6)]
    reading, most = set(), 0
    for path in paths:
        store.put(path, table(600))

    async def read(path):
        await rows(store, path)
        reading.discard(path)

    def begun(path):
        nonlocal most
        if store.reads.count(path) > 1:  # the first is for what tells the format
            reading.add(path)
            most = max(most, len(reading))

    store.before_read = begun
    async with asyncio.timeout(30):
        await asyncio.gather(*map(read, paths))
    assert most <= fetching.SEEKING_AT_ONCE + 1, "one may begin as another's last rows are taken"


async def test_a_file_that_changes_meanwhile_is_told_as_such(store, small):
    reads = []

    def change(path):
        reads.append(path)
        if len(reads) == 15:
            store.put(path, table(version="w"))

    store.before_read = change
    with pytest.raises(FileChanged):
        await rows(store)


async def test_reading_that_is_given_up_leaves_no_thread_behind(store, small):
    file = await store.look("f.parquet")
    stuck = asyncio.Event()

    class Stuck:
        def __init__(self):
            self.reads = 0

        async def read(self, file, start, size):
            self.reads += 1
            if self.reads > 8:
                stuck.set()
                await asyncio.Event().wait()
            return await store.read(file, start, size)

    async def read():
        async for _ in contents(Stuck(), file, FileReader("f.parquet", ParserOptions())):
            pass

    async with asyncio.timeout(30):
        task = asyncio.ensure_future(read())
        await stuck.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_part_that_claims_to_be_huge_is_refused(store, monkeypatch):
    monkeypatch.setattr(ranged, "READ_BYTES_MAX", 100)
    monkeypatch.setattr(stores, "RANGE_BYTES", 1000)
    with pytest.raises(DataError, match="the limit is 100"):
        await rows(store)


def test_an_abandoned_file_is_not_read():
    async def check():
        store = MemoryStore()
        store.put("f", b"content")
        with ranged.ranged(store, await store.look("f")) as opened:
            pass
        with pytest.raises(TransientError, match="given up"):
            await asyncio.get_running_loop().run_in_executor(None, opened.read, 3)

    asyncio.run(check())


class Crash(Exception):
    pass


async def test_a_read_that_was_cut_off_goes_on_where_it_was(store, small, monkeypatch):
    monkeypatch.setattr(outbox, "CHECKPOINT_DOCUMENTS", 700)
    state, documents, schemas = {}, [], []

    async def sweep(commits):
        nonlocal state

        async def commit(new, patch, told):
            nonlocal state
            if len(commits) == 2:
                raise Crash
            commits.append(len(new))
            state = merged(state, patch)
            documents.extend(new)
            schemas.extend(told)

        folder = Folder(FolderState.model_validate(state), "recipe")
        return await Following(store, folder, Selection(), commit).sweep()

    with pytest.raises(ExceptionGroup):
        await sweep([])
    assert 0 < len(documents) < ROWS
    commits = [0, 0, 0]
    await sweep(commits)
    found = [msgspec.json.decode(each) for each in documents]
    assert [each["_meta"]["offset"] for each in found] == list(range(ROWS))
    assert [each["_meta"]["op"] for each in found] == ["c"] * ROWS
    assert len(set(schemas)) == 1
    assert len(schemas) == 2, "each run tells the schema once"
