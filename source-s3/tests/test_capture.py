"""The files of a bucket become collections, and the collections follow the files."""

import base64
import gzip
import io
import zipfile
from datetime import datetime

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from estuary_cdk.kits.files import outbox, ranged, stores
from estuary_cdk.testing.fake_http import FakeHttp, Reply, loopback
from estuary_cdk.testing.runtime import after_checkpoints
from source_s3.config import Config
from source_s3.store import opened

CSV = b"id,name,score\n1,ann,1.50\n2,bob,\n"


def rows(start, stop, version="v"):
    return ("id,v\n" + "".join(f"{n},{version}{n}\n" for n in range(start, stop))).encode()


def ops(session, binding=0):
    return [document["_meta"]["op"] for document in session.of(binding)]


async def test_documents_say_their_file_and_offset_and_cells_are_typed(bucket):
    bucket.put("in/f.csv", CSV)
    session = await bucket.run()
    place = f'"file":"{bucket.name}/in/f.csv"'
    assert [raw.decode() for _, raw in session.documents] == [
        f'{{"_meta":{{"op":"c",{place},"offset":0}},"id":1,"name":"ann","score":1.50}}',
        f'{{"_meta":{{"op":"c",{place},"offset":1}},"id":2,"name":"bob","score":null}}',
    ]
    assert session.ended


async def test_a_file_is_sent_once_and_again_when_it_changed(bucket):
    bucket.put("f.csv", rows(0, 3))
    bucket.put("g.csv", rows(0, 1))
    await bucket.run()
    assert (await bucket.run()).documents == []
    bucket.put("f.csv", rows(0, 2))
    assert ops(await bucket.run()) == ["u", "u", "d"]
    assert len(bucket.collection()) == 3


@pytest.mark.parametrize(("choice", "left"), [("keep", 3), ("delete", 1)])
async def test_a_deleted_file_deletes_its_rows_if_asked(bucket, choice, left):
    bucket.config["advanced"]["onDelete"] = choice
    bucket.put("f.csv", rows(0, 2))
    bucket.put("g.csv", rows(0, 1))
    await bucket.run()
    bucket.remove("f.csv")
    await bucket.run()
    assert len(bucket.collection()) == left


async def test_a_key_of_the_users_identifies_documents_wherever_they_stand(bucket):
    bucket.key = ["/id"]
    bucket.put("f.csv", rows(0, 5))
    bucket.put("g.csv", rows(4, 8))
    await bucket.run()
    bucket.put("g.csv", rows(6, 9))
    await bucket.run()
    assert sorted(document["id"] for document in bucket.collection()) == [0, 1, 2, 3, 4, 6, 7, 8]


async def test_a_killed_run_goes_on_after_what_it_emitted(bucket, monkeypatch):
    monkeypatch.setattr(outbox, "CHECKPOINT_DOCUMENTS", 1000)
    monkeypatch.setattr(stores, "RANGE_BYTES", 20_000)
    bucket.put("f.jsonl", b"".join(b'{"id":%d}\n' % n for n in range(20_000)))
    first = await bucket.run(after_checkpoints(2), kill=True)
    second = await bucket.run()
    assert 0 < len(first.documents) < 20_000
    assert len(first.documents) + len(second.documents) == 20_000
    assert len(bucket.collection()) == 20_000


async def test_every_kind_of_file_is_read(bucket):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.csv", rows(0, 2))
        archive.writestr("two.jsonl", b'{"id":2}\n')
    bucket.put("a.zip", packed.getvalue())
    bucket.put("b.csv.gz", gzip.compress(rows(3, 5)))
    bucket.put("c.json", b'[{"id":5}]')
    await bucket.run()
    assert sorted(document["id"] for document in bucket.collection()) == [0, 1, 2, 3, 4, 5]
    files = {msgspec.json.decode(raw)["_meta"]["file"] for _, raw in bucket.documents}
    assert f"{bucket.name}/a.zip/one.csv" in files


async def test_a_parquet_file_is_read_by_ranges_and_tells_its_schema(bucket, monkeypatch):
    monkeypatch.setattr(stores, "RANGE_BYTES", 5_000)
    monkeypatch.setattr(ranged, "BLOCK_BYTES", 5_000)
    made = io.BytesIO()
    pq.write_table(pa.table({"id": range(9_000), "at": [datetime(2026, 1, 1)] * 9_000}), made)
    bucket.put("f.parquet", made.getvalue())
    session = await bucket.run()
    found = bucket.collection()
    assert len(found) == 9_000
    assert {document["at"] for document in found} == {"2026-01-01T00:00:00Z"}
    [(_, schema)] = session.schemas
    properties = msgspec.json.decode(schema)["properties"]
    assert properties["id"] == {"type": "integer"}
    assert properties["at"] == {"type": "string", "format": "date-time"}


async def test_a_content_type_tells_where_the_name_does_not(bucket):
    bucket.put("a", b'{"id":1}\n', ContentType="text/csv; charset=utf-8")
    bucket.put("b.jsonl", b'{"id":2}\n', ContentType="text/csv")
    bucket.put("c", b'{"id":3}\n')
    session = await bucket.run()
    found = {each["_meta"]["file"][-1]: each.get("id") for each in session.of(0)}
    assert found == {"l": 2, "c": 3}, "the first has a header and no row"


async def test_several_prefixes_are_several_bindings(bucket):
    bucket.config["prefixes"] = ["in/", "out/"]
    bucket.put("in/f.csv", rows(0, 2))
    bucket.put("out/f.csv", rows(0, 3))
    bucket.put("other.csv", rows(0, 4))
    await bucket.run()
    assert [len(bucket.collection(index)) for index in range(2)] == [2, 3]


async def test_files_are_chosen_by_pattern_and_date(bucket):
    bucket.config["matchKeys"] = r"^in/.*\.csv$"
    bucket.put("in/f.csv", rows(0, 2))
    bucket.put("in/f.txt", b"no")
    await bucket.run()
    assert len(bucket.collection()) == 2
    bucket.config["advanced"]["minimumModified"] = "2999-01-01T00:00:00Z"
    bucket.put("in/g.csv", rows(0, 2))
    assert (await bucket.run()).documents == []


async def test_ascending_keys_are_listed_behind_the_last(bucket):
    bucket.config["advanced"]["ascendingKeys"] = True
    bucket.put("b.csv", rows(0, 1))
    await bucket.run()
    bucket.put("a.csv", rows(0, 1))
    bucket.put("c.csv", rows(0, 2))
    assert len((await bucket.run()).documents) == 2


async def test_a_binding_waits_for_its_interval(bucket):
    bucket.resources["interval"] = "1h"
    bucket.put("f.csv", rows(0, 1))
    await bucket.run()
    bucket.put("f.csv", rows(0, 2))
    bucket.clock.advance(59 * 60)
    assert (await bucket.run()).documents == []
    bucket.clock.advance(60)
    assert (await bucket.run()).documents != []


async def test_an_encrypted_file_is_read_with_its_key(bucket):
    key = bytes(range(32))
    bucket.put("f.csv", rows(0, 2), SSECustomerAlgorithm="AES256", SSECustomerKey=key)
    bucket.config["advanced"]["sseCustomerKey"] = base64.b64encode(key).decode()
    await bucket.run()
    assert len(bucket.collection()) == 2


async def test_archived_files_are_passed_over_with_a_word(bucket, caplog):
    for name, storage in (("a", "GLACIER"), ("b", "DEEP_ARCHIVE"), ("c", "GLACIER_IR")):
        bucket.put(f"in/{name}.csv", rows(0, 1), StorageClass=storage)
    with caplog.at_level("INFO"):
        session = await bucket.run()
    assert [document["_meta"]["file"] for document in session.of(0)] == [f"{bucket.name}/in/c.csv"]
    told = [each.fields for each in caplog.records if "archived" in each.getMessage()]
    assert told == [{"prefix": "", "files": 2}]


class Answers:
    """A service with one file, which notes what it is asked; the first `busy` reads fail."""

    def __init__(self, *, busy=0):
        self.busy, self.asked = busy, []

    def __call__(self, request):
        self.asked.append(request)
        if "list-type" in request.query:
            content = (
                "<Contents><Key>f.csv</Key><Size>5</Size><ETag>&quot;1&quot;</ETag>"
                "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            )
            return Reply(200, f"<ListBucketResult>{content}</ListBucketResult>".encode())
        self.busy -= 1
        if self.busy >= 0:
            return Reply(503, b"<Error><Code>SlowDown</Code></Error>")
        return Reply(206, b"id\n1\n")


async def test_a_busy_service_is_asked_again(bucket, monkeypatch):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff._MAX_BACKOFF", 0.01)
    answers = Answers(busy=3)
    async with loopback(FakeHttp({"GET /*": answers})) as bucket.config["advanced"]["endpoint"]:
        await bucket.runtime.discover(bucket.config)
    assert len([request for request in answers.asked if "Range" in request.headers]) >= 4


async def test_who_agrees_to_pay_says_so_with_every_request(bucket):
    answers = Answers()
    bucket.config["advanced"]["requesterPays"] = True
    async with loopback(FakeHttp({"GET /*": answers})) as bucket.config["advanced"]["endpoint"]:
        await bucket.run()
    assert len(bucket.documents) == 1
    payers = {request.headers.get("x-amz-request-payer") for request in answers.asked}
    assert payers == {"requester"}


async def test_a_role_is_assumed_with_the_environments_credentials(bucket, endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", endpoint)
    answers = Answers()
    bucket.config["credentials"] = {
        "auth_type": "AWSIAM",
        "aws_role_arn": "arn:aws:iam::123456789012:role/reader",
        "aws_external_id": "agreed",
    }
    async with loopback(FakeHttp({"GET /*": answers})) as bucket.config["advanced"]["endpoint"]:
        await bucket.run()
    assert len(bucket.documents) == 1
    for request in answers.asked:
        assert "Credential=ASIA" in request.headers["Authorization"]
        assert request.headers["X-Amz-Security-Token"]


@pytest.mark.parametrize(
    ("path_style", "address"),
    [
        (False, "https://files.s3."),
        (True, "https://s3.eu-west-1.amazonaws.com/files/"),
    ],
)
async def test_the_bucket_is_in_the_host_name_or_in_the_path(path_style, address):
    config = Config.model_validate(
        {
            "bucket": "files",
            "region": "eu-west-1",
            "credentials": {"auth_type": "AWSAnonymous"},
            "advanced": {"pathStyle": path_style},
        }
    )
    async with opened(config) as store:
        place = {"Bucket": "files", "Key": "f.csv"}
        assert store.client.generate_presigned_url("get_object", place).startswith(address)


async def test_the_keys_of_older_specs_are_accepted(bucket):
    bucket.put("f.csv", rows(0, 1))
    config = {**bucket.config, "awsAccessKeyId": "someone", "awsSecretAccessKey": "x"}
    del config["credentials"]
    assert len(await bucket.runtime.discover(config)) == 1


async def test_a_public_bucket_needs_no_credentials(bucket):
    bucket.put("f.csv", rows(0, 1))
    bucket.client.put_bucket_acl(Bucket=bucket.name, ACL="public-read-write")
    bucket.put("f.csv", rows(0, 1), ACL="public-read")
    bucket.config["credentials"] = {"auth_type": "AWSAnonymous"}
    await bucket.run()
    assert len(bucket.collection()) == 1
