"""A file over HTTP becomes a collection, and the collection follows the file."""

import gzip
import hashlib
import io
import random
from datetime import datetime, timedelta

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from estuary_cdk.errors import CdkError, DataError, TransientError
from estuary_cdk.kits.files import outbox
from estuary_cdk.testing.clock import START
from estuary_cdk.testing.runtime import after_checkpoints

LONG_AGO = START - timedelta(days=9)

CSV = b"id,name,score\n1,ann,1.50\n2,bob,\n"


def only(group):
    while isinstance(group, ExceptionGroup):
        [group] = group.exceptions
    return group


def rows(start, stop, version="v"):
    return "id,v\n" + "".join(f"{n},{version}{n}\n" for n in range(start, stop))


def ops(session):
    return [document["_meta"]["op"] for document in session.of(0)]


def expected(content):
    _, *lines = content.split()
    return [{"id": int(i), "v": v} for i, v in (line.split(",") for line in lines)]


async def test_documents_begin_with_their_metadata_and_cells_are_typed(site):
    site.file("f.csv", CSV)
    site.stream("people", "f.csv?token=hidden")
    session = await site.run()
    place = f'"file":"{site.url}/f.csv"'
    assert [raw.decode() for _, raw in session.documents] == [
        f'{{"_meta":{{"op":"c",{place},"offset":0}},"id":1,"name":"ann","score":1.50}}',
        f'{{"_meta":{{"op":"c",{place},"offset":1}},"id":2,"name":"bob","score":null}}',
    ]
    assert session.ended


async def test_a_parquet_file_tells_its_schema_before_its_rows(site):
    made = io.BytesIO()
    pq.write_table(pa.table({"id": [2**63 - 1], "at": [datetime(2026, 1, 1)]}), made)
    site.file("f.parquet", made.getvalue())
    site.stream("f.parquet")
    session = await site.run()
    [document] = session.of(0)
    assert (document["id"], document["at"]) == (2**63 - 1, "2026-01-01T00:00:00Z")
    [(_, schema)] = session.schemas
    assert msgspec.json.decode(schema)["properties"]["id"] == {"type": "integer"}
    assert session.transcript.index("SourcedSchema") < session.transcript.index("Captured")


@pytest.mark.parametrize("validators", [{"etag": '"1"'}, {"etag": 'W/"1"'}, {"modified": LONG_AGO}])
async def test_an_unchanged_file_is_asked_for_conditionally_and_not_sent_again(site, validators):
    site.file("f.csv", CSV, **validators)
    site.stream("f.csv")
    await site.run()
    again = await site.run()
    assert again.documents == []
    [asked] = site.http.requests
    assert {"If-None-Match", "If-Modified-Since"} & set(asked.headers)


async def test_an_unchanged_file_without_validators_is_known_by_its_content(site):
    file = site.file("f.csv", CSV)
    site.stream("f.csv")
    await site.run()
    assert (await site.run()).documents == []
    file.content = CSV.replace(b"bob", b"bea")
    assert ops(await site.run()) == ["u", "u"]
    assert [document["name"] for document in site.collection()] == ["ann", "bea"]


async def test_a_date_too_young_to_trust_does_not_hide_a_change(site):
    file = site.file("f.csv", CSV, modified=site.clock.now(), date=site.clock.now())
    site.stream("f.csv")
    await site.run()
    file.content = CSV.replace(b"bob", b"bea")
    await site.run()
    assert [document["name"] for document in site.collection()] == ["ann", "bea"]


async def test_a_changed_file_is_read_again_and_what_vanished_is_deleted(site):
    file = site.file("f.csv", rows(0, 5).encode(), etag='"1"')
    site.stream("f.csv")
    await site.run()
    file.content, file.etag = rows(0, 3, "w").encode(), '"2"'
    session = await site.run()
    assert ops(session) == ["u", "u", "u", "d", "d"]
    assert [d["_meta"]["offset"] for d in session.of(0)][3:] == [3, 4]
    assert site.collection() == expected(rows(0, 3, "w"))


async def test_a_key_of_the_users_identifies_documents_wherever_they_stand(site):
    file = site.file("f.csv", rows(0, 5).encode(), etag='"1"')
    site.stream("f.csv", key=["/id"])
    await site.run()
    file.content, file.etag = rows(2, 6).encode(), '"2"'
    session = await site.run()
    assert [(d["_meta"]["op"], d["id"]) for d in session.of(0)] == [
        ("u", 2),
        ("u", 3),
        ("u", 4),
        ("c", 5),
        ("d", 0),
        ("d", 1),
    ]
    assert site.collection() == expected(rows(2, 6))


@pytest.mark.parametrize("key", [[], ["/id"]])
async def test_a_killed_read_resumes_where_it_was_if_the_content_is_the_same(
    site, key, small_steps
):
    content = rows(0, 20_000)
    site.file("f.csv", content.encode(), etag='"1"')
    site.stream("f.csv", key=key)
    first = await site.run(after_checkpoints(2), kill=True)
    second = await site.run()
    assert 0 < len(first.documents) < 20_000
    assert len(first.documents) + len(second.documents) == 20_000
    assert site.collection() == expected(content)


@pytest.mark.parametrize("key", [[], ["/id"]])
async def test_a_file_that_changed_after_a_kill_is_read_again_from_the_start(
    site, key, small_steps
):
    file = site.file("f.csv", rows(0, 20_000).encode())
    site.stream("f.csv", key=key)
    await site.run(after_checkpoints(2), kill=True)
    file.content = rows(5, 10_000, "w").encode()
    await site.run()
    documents = {document["id"]: document for document in site.collection()}
    assert documents == {d["id"]: d for d in expected(rows(5, 10_000, "w"))}
    assert len(site.collection()) == len(documents)


@pytest.mark.parametrize("seed", range(4))
async def test_changes_and_kills_in_any_order_leave_the_collection_equal_to_the_file(
    site, seed, monkeypatch
):
    monkeypatch.setattr(outbox, "CHECKPOINT_BYTES", 300)
    monkeypatch.setattr("estuary_cdk.kits.files.csv_rows.SAMPLE_CHARS", 64)
    monkeypatch.setattr("estuary_cdk.kits.files.csv_rows.BATCH_CHARS", 64)
    monkeypatch.setattr("estuary_cdk.kits.files.sweep.DELETIONS_PER_CHECKPOINT", 3)
    dice = random.Random(seed)
    content = rows(0, 9).encode()
    file = site.file("f.csv", content)
    site.stream("f.csv", key=["/id"] if seed % 2 else [])
    for _ in range(8):
        if dice.random() < 0.7:
            start, letter = dice.randrange(20), dice.choice("vw")
            content = rows(start, start + dice.randrange(1, 40), letter).encode()
            file.content = content
            file.etag = f'"{hashlib.sha256(content).hexdigest()}"' if dice.random() < 0.5 else None
        if dice.random() < 0.6:
            await site.run(after_checkpoints(dice.randrange(1, 6)), kill=True)
    await site.run()
    documents = {document["id"]: document for document in site.collection()}
    assert documents == {document["id"]: document for document in expected(content.decode())}
    assert len(site.collection()) == len(documents)


@pytest.mark.parametrize("validators", [{"etag": '"1"'}, {"modified": LONG_AGO}])
async def test_a_broken_download_resumes_with_a_range(site, validators):
    content = rows(0, 15_000)
    file = site.file("f.csv", content.encode(), **validators)
    site.stream("f.csv")
    built_breaks = [None, 10_000, 15_000]  # the first answer is the one to Validate
    file.breaks = built_breaks
    session = await site.run()
    assert [r.headers.get("Range", "").partition("=")[0] for r in site.http.requests] == [
        "",
        "bytes",
        "bytes",
    ]
    assert len(session.documents) == 15_000
    assert site.collection() == expected(content)


async def test_a_broken_download_that_cannot_resume_starts_again(site):
    content = rows(0, 15_000)
    file = site.file("f.csv", content.encode())
    site.stream("f.csv")
    file.breaks = [None, 100_000]
    session = await site.run()
    assert len(session.documents) == 15_000
    assert site.collection() == expected(content)


async def test_a_download_that_breaks_while_it_is_compared_is_compared_again(site):
    file = site.file("f.csv", rows(0, 15_000).encode())
    site.stream("f.csv")
    await site.run()
    file.breaks = [None, 100_000]
    assert (await site.run()).documents == []
    assert len(site.http.requests) == 2


async def test_a_download_that_always_breaks_fails_and_keeps_what_it_has(site, small_steps):
    content = rows(0, 20_000).encode()
    file = site.file("f.csv", content)
    site.stream("f.csv")
    file.breaks = [None, *[115_000] * 5]
    with pytest.raises(TransientError, match="it changed or broke off 5 times"):
        await site.run()
    kept = len(site.documents)
    assert kept > 0
    session = await site.run()
    assert kept + len(session.documents) == 20_000


async def test_a_binding_waits_for_its_interval(site):
    file = site.file("f.csv", CSV)
    site.stream("f.csv")
    site.resources = {"interval": "1h30m"}
    await site.run()
    file.content = rows(0, 1).encode()
    site.clock.advance(89 * 60)
    assert (await site.run()).documents == []
    assert site.http.requests == []
    site.clock.advance(60)
    assert (await site.run()).documents != []


async def test_the_interval_does_not_hold_up_a_read_that_was_cut_off(site, small_steps):
    site.file("f.csv", rows(0, 20_000).encode())
    site.stream("f.csv")
    site.resources = {"interval": "PT1H"}
    await site.run(after_checkpoints(1), kill=True)
    await site.run()
    assert len(site.collection()) == 20_000


async def test_another_parser_option_reads_the_file_again(site):
    site.file("f.csv", CSV, etag='"1"')
    site.stream("f.csv")
    await site.run()
    parser = {"format": {"type": "csv", "config": {"headers": ["a", "b", "c"]}}}
    site.streams[0]["parser"] = parser
    await site.run()
    assert [document["a"] for document in site.collection()] == ["id", "1", "2"]


async def test_compressed_and_json_files_are_streams_like_any_other(site):
    site.file("a.csv.gz", gzip.compress(CSV))
    site.file("b", b'[{"x":1.0},{"x":2}]', headers={"Content-Type": "application/json"})
    site.file("c.jsonl", b'{"x":1}\n')
    for name in ("a.csv.gz", "b", "c.jsonl"):
        site.stream(name)
    await site.run()
    assert [len(site.collection(index)) for index in range(3)] == [2, 2, 1]
    assert b'"x":1.0}' in next(raw for index, raw in site.documents if index == 1)


async def test_credentials_and_headers_are_sent(site):
    site.file("f.csv", CSV)
    site.stream(
        "f.csv",
        credentials={"auth_type": "basic", "user": "me", "password": "word"},
        headers={"items": [{"key": "X-Extra", "value": "1"}]},
    )
    await site.run()
    for asked in site.http.requests:
        assert asked.headers["Authorization"] == "Basic bWU6d29yZA=="
        assert asked.headers["X-Extra"] == "1"


async def test_a_malformed_row_is_named_unless_a_threshold_allows_it(site):
    site.file("f.csv", CSV + b"3,x,1,surplus\n")
    site.stream("f.csv")
    with pytest.raises(DataError, match=r"/f.csv' line 4, column 4: the row has 4 cells"):
        await site.run()
    parser = {"format": {"type": "csv", "config": {"errorThreshold": 50}}}
    site.streams[0]["parser"] = parser
    await site.run()
    assert len(site.collection()) == 2


async def test_one_streams_failure_does_not_keep_the_others_from_being_captured(site):
    site.file("bad.csv", b"a\n1,2\n")
    site.file("good.csv", CSV)
    site.stream("bad.csv")
    site.stream("good.csv")
    with pytest.raises(DataError, match=r"bad\.csv' line 2, column 2"):
        await site.run()
    assert len(site.collection(1)) == 2


async def test_what_was_committed_before_a_failure_stays(site, small_steps):
    good = rows(0, 20_000).encode()
    file = site.file("f.csv", good + b"1,2,3\n")
    site.stream("f.csv")
    with pytest.raises(CdkError, match="line 20002, column 3"):
        await site.run()
    kept = len(site.documents)
    assert kept > 5_000
    file.content = good + b"20000,v20000\n"
    await site.run()
    assert site.collection() == expected(file.content.decode())


async def test_a_key_chosen_for_the_collection_alone_identifies_documents_too(site):
    file = site.file("f.csv", rows(0, 3).encode())
    site.stream("f.csv")
    site.key = ["/v"]
    await site.run()
    file.content = rows(1, 3).encode()
    session = await site.run()
    assert [(d["_meta"]["op"], d["v"]) for d in session.of(0)][-1] == ("d", "v0")
    assert site.collection() == expected(rows(1, 3))


async def test_a_document_without_the_users_key_is_an_error(site):
    site.file("f.json", b'[{"id":1}]')
    site.stream("f.json", key=["/id"])
    await site.run()
    built = site.built
    site.file("f.json", b'[{"id":1},{"id":null}]')
    with pytest.raises(ExceptionGroup) as caught:
        await site.runtime.run(built)
    assert isinstance(error := only(caught.value), DataError)
    assert "record 1 of" in str(error)
    assert "at its key /id" in str(error)


async def test_state_stays_small_when_a_read_has_many_checkpoints(site, small_steps):
    site.file("f.csv", rows(0, 20_000).encode())
    site.stream("f.csv")
    session = await site.run()
    assert session.checkpoints > 2
    assert all(len(msgspec.json.encode(state)) < 1000 for state in session.states)
