"""What is read by seeking is asked for by ranges, where the server has them for one version."""

import io
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from estuary_cdk.kits.files import arrow_files, outbox, ranged, spool, stores
from estuary_cdk.testing.clock import START
from estuary_cdk.testing.runtime import after_checkpoints

LONG_AGO = START - timedelta(days=9)
ROWS = 20_000
BLOCK_BYTES = 1 << 14


def parquet(version=0):
    made = io.BytesIO()
    table = pa.table({"id": range(ROWS), "v": [f"{version}-{n}" for n in range(ROWS)]})
    pq.write_table(table, made, row_group_size=2000, compression="none", use_dictionary=False)
    return made.getvalue()


@pytest.fixture(autouse=True)
def small_ranges(monkeypatch):
    monkeypatch.setattr(stores, "RANGE_BYTES", 10_000)
    monkeypatch.setattr(ranged, "BLOCK_BYTES", BLOCK_BYTES)


@pytest.fixture
def spooled(monkeypatch):
    """How many bytes were kept aside."""
    sizes = []

    class Counted(spool.Spool):
        def feed(self, block):
            sizes.append(len(block))
            super().feed(block)

    monkeypatch.setattr("estuary_cdk.kits.files.reading.Spool", Counted)
    return sizes


def collected(site):
    return [(document["id"], document["v"]) for document in site.collection()]


def rows(version=0):
    return [(n, f"{version}-{n}") for n in range(ROWS)]


@pytest.mark.parametrize("validators", [{"etag": '"1"'}, {"modified": LONG_AGO}])
async def test_a_server_with_ranges_is_asked_for_them_and_nothing_is_kept_aside(
    site, spooled, validators
):
    file = site.file("f.parquet", parquet(), **validators)
    site.stream("f.parquet")
    file.breaks = [None, None, None, 3000]  # one of the ranges breaks off, and is asked for again
    await site.run()
    assert collected(site) == rows()
    assert spooled == []
    first, *others = site.http.requests
    assert "Range" not in first.headers
    assert all("If-Range" in each.headers for each in others)
    sizes = [1 + last - first for first, last in map(asked, others)]
    assert max(sizes) <= BLOCK_BYTES
    assert len(file.content) <= sum(sizes) < 2 * len(file.content)
    assert (await site.run()).documents == []


def asked(request):
    first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
    return int(first), int(last)


@pytest.mark.parametrize(
    "options",
    [
        {"etag": '"1"', "ranges": False},
        {"etag": 'W/"1"'},
        {"modified": START},
        {},
        {"etag": '"1"', "headers": {"Accept-Ranges": "none"}},
    ],
)
async def test_a_server_that_cannot_prove_ranges_has_its_file_kept_aside(site, spooled, options):
    file = site.file("f.parquet", parquet(), **options)
    site.stream("f.parquet")
    await site.run()
    assert collected(site) == rows()
    assert sum(spooled) == len(file.content)


async def test_a_file_that_is_read_front_to_back_is_asked_for_once(site):
    site.file("f.csv", b"id\n" + b"1\n" * 20_000, etag='"1"')
    site.file("f", b'{"id":1}\n' * 20_000, etag='"1"')
    site.stream("f.csv")
    await site.run()
    assert len(site.http.requests) == 1
    site.stream("f")
    await site.run()
    # Nothing but its first bytes told that it isn't one to seek in.
    assert [asked(each) for each in site.http.requests if "Range" in each.headers] == [(0, 1023)]


async def test_a_file_that_changes_between_ranges_is_read_anew_and_never_mixed(site, monkeypatch):
    monkeypatch.setattr(outbox, "CHECKPOINT_DOCUMENTS", 2000)
    file = site.file("f.parquet", parquet(), etag='"1"')
    site.stream("f.parquet")
    asked_for = 0

    def served(request):
        nonlocal asked_for
        asked_for += "Range" in request.headers
        if asked_for == 8:
            file.content, file.etag = parquet(1), '"2"'
        return file(request)

    site.http.routes["GET /f.parquet"] = served
    await site.run()
    assert collected(site) == rows(1)
    versions = [document["v"][0] for document in site.collection()]
    assert set(versions) == {"1"}


async def test_a_killed_read_by_ranges_goes_on_where_it_was(site, monkeypatch):
    monkeypatch.setattr(outbox, "CHECKPOINT_DOCUMENTS", 2000)
    site.file("f.parquet", parquet(), etag='"1"')
    site.stream("f.parquet")
    first = await site.run(after_checkpoints(2), kill=True)
    second = await site.run()
    assert 0 < len(first.documents) < ROWS
    assert len(first.documents) + len(second.documents) == ROWS
    assert collected(site) == rows()


async def test_a_key_is_sampled_without_reading_all_of_a_file(site, spooled, monkeypatch):
    monkeypatch.setattr(arrow_files, "BATCH_ROWS_MAX", 1000)
    site.file("f.parquet", parquet(), etag='"1"')
    site.stream("f.parquet", key=["/id"])
    [found] = await site.runtime.discover(site.config)
    assert found.key == ["/id"]
    assert spooled == []
    assert len(site.http.requests) < len(parquet()) // BLOCK_BYTES
