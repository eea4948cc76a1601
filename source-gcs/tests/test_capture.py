"""The files of a bucket become collections, and the collections follow the files."""

import asyncio
import gzip

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from estuary_cdk.errors import CdkError, ConfigError, TransientError
from estuary_cdk.testing.fake_http import FakeHttp, Reply, loopback


def rows(start, stop, version="v"):
    return ("id,v\n" + "".join(f"{n},{version}{n}\n" for n in range(start, stop))).encode()


async def failure(task):
    with pytest.raises(CdkError) as caught:
        await task.runtime.discover(task.config)
    return caught.value


async def test_documents_name_their_file_and_every_kind_is_read(task, bucket):
    bucket.blob("in/f.csv").upload_from_string(b"id,name\n1,ann\n")
    bucket.blob("in/g.jsonl.gz").upload_from_string(gzip.compress(b'{"id":2}\n'))
    session = await task.run()
    assert [raw.decode() for _, raw in sorted(session.documents)] == [
        f'{{"_meta":{{"op":"c","file":"{bucket.name}/in/{name}","offset":0}},{body}}}'
        for name, body in (("f.csv", '"id":1,"name":"ann"'), ("g.jsonl.gz", '"id":2'))
    ]


async def test_changed_and_deleted_files_are_followed(task, bucket):
    task.config["advanced"]["onDelete"] = "delete"
    bucket.blob("f.csv").upload_from_string(rows(0, 3))
    bucket.blob("g.csv").upload_from_string(rows(0, 1))
    await task.run()
    bucket.blob("f.csv").upload_from_string(rows(0, 2, "w"))
    bucket.blob("g.csv").delete()
    await task.run()
    assert sorted(document["v"] for document in task.collection()) == ["w0", "w1"]
    assert (await task.run()).documents == []


async def test_the_keys_of_older_specs_are_accepted(task, bucket):
    bucket.blob("b.csv").upload_from_string(rows(0, 1))
    task.config |= {"ascendingKeys": True, "googleCredentials": "", "matchKeys": ""}
    await task.run()
    bucket.blob("a.csv").upload_from_string(rows(0, 1))
    assert (await task.run()).documents == []


def service_account(token_uri: str, **changes) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    info = {
        "type": "service_account",
        "client_email": "reader@project.example.com",
        "private_key": pem,
        "token_uri": token_uri,
    }
    return msgspec.json.encode(info | changes).decode()


async def test_a_service_account_asks_with_its_token(task, bucket):
    bucket.blob("f.csv").upload_from_string(rows(0, 1))
    token = msgspec.json.encode({"access_token": "secret-token", "expires_in": 3600})
    asked = []

    def granted(request):
        asked.append(request)
        return Reply(200, token, {"Content-Type": "application/json"})

    async with loopback(FakeHttp({"POST /token": granted})) as url:
        task.config["credentials"] = {
            "auth_type": "CredentialsJSON",
            "credentials_json": service_account(f"{url}/token"),
        }
        await task.run()
    assert asked
    assert len(task.collection()) == 1


async def test_a_service_account_that_is_refused_says_so(task):
    refused = msgspec.json.encode({"error": "invalid_grant", "error_description": "No account."})
    reply = Reply(400, refused, {"Content-Type": "application/json"})
    async with loopback(FakeHttp({"POST /token": lambda _: reply})) as url:
        key = service_account(f"{url}/token")
        task.config["credentials"] = {"auth_type": "CredentialsJSON", "credentials_json": key}
        error = await failure(task)
    assert isinstance(error, ConfigError)
    assert "the credentials are refused" in str(error)
    assert "invalid_grant" in str(error)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("{", "it isn't JSON; paste the whole key file"),
        ('{"type":"authorized_user"}', "it is the key of 'authorized_user'"),
        ("[]", "it is no key file of a service account"),
        (service_account("x", private_key="none"), "can't reach bucket"),
    ],
)
async def test_what_is_no_key_is_told(task, key, sentence):
    task.config["credentials"] = {"auth_type": "CredentialsJSON", "credentials_json": key}
    assert sentence in str(await failure(task))


async def test_an_environment_without_credentials_is_told(task, monkeypatch, tmp_path):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    task.config["credentials"] = {"auth_type": "GCPEnvironment"}
    assert "there are no credentials (set credentials)" in str(await failure(task))


async def test_the_environments_credentials_are_used(task, bucket, monkeypatch, tmp_path):
    bucket.blob("f.csv").upload_from_string(rows(0, 1))
    token = msgspec.json.encode({"access_token": "secret-token", "expires_in": 3600})
    reply = Reply(200, token, {"Content-Type": "application/json"})
    async with loopback(FakeHttp({"POST /token": lambda _: reply})) as url:
        path = tmp_path / "key.json"
        await asyncio.to_thread(path.write_text, service_account(f"{url}/token"))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        task.config["credentials"] = {"auth_type": "GCPEnvironment"}
        await task.run()
    assert len(task.collection()) == 1


async def test_a_missing_bucket_is_named(task):
    task.config["bucket"] = "nobody-has-this"
    error = await failure(task)
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "can't list bucket 'nobody-has-this': there is no such bucket (check bucket)"
    )


@pytest.mark.parametrize(
    ("status", "message", "kind", "sentence"),
    [
        (401, "Anonymous caller.", ConfigError, "it isn't open to everyone (set credentials)"),
        (403, "No.", ConfigError, "access is denied (the credentials need the permission storage"),
        (
            400,
            "Bucket is a requester pays bucket but no user project provided.",
            ConfigError,
            "its requesters pay (set advanced.userProject)",
        ),
        (400, "Odd.", ConfigError, "the service answered 400"),
        (503, "Busy.", TransientError, "the service answered 503"),
    ],
)
async def test_a_refusal_says_why_and_what_to_do(
    task, monkeypatch, status, message, kind, sentence
):
    monkeypatch.setattr("source_gcs.store.RETRIES_S", 0.01)
    body = msgspec.json.encode({"error": {"code": status, "message": message}})
    reply = Reply(status, body, {"Content-Type": "application/json"})
    async with loopback(FakeHttp({"GET /*": lambda _: reply})) as url:
        task.config["advanced"]["endpoint"] = url
        error = await failure(task)
    assert isinstance(error, kind)
    assert sentence in str(error)


async def test_nobody_at_the_endpoint_may_be_passing(task, monkeypatch):
    monkeypatch.setattr("source_gcs.store.RETRIES_S", 0.01)
    task.config["advanced"]["endpoint"] = "http://127.0.0.1:1"
    assert isinstance(await failure(task), TransientError)


async def test_the_project_to_charge_goes_with_every_request(task, bucket):
    asked = []

    def answered(request):
        asked.append(request.url)
        if "alt=media" in request.url:
            return Reply(206, b"a")
        item = {
            "name": "f.csv",
            "size": "4",
            "generation": "7",
            "updated": "2026-01-01T00:00:00Z",
        }
        return Reply(200, msgspec.json.encode({"items": [item]}))

    task.config["advanced"]["userProject"] = "payer"
    async with loopback(FakeHttp({"GET /*": answered})) as url:
        task.config["advanced"]["endpoint"] = url
        await task.runtime.discover(task.config)
    assert len(asked) > 1
    assert [url for url in asked if "userProject=payer" not in url] == []
