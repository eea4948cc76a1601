"""What the service refuses is one sentence that says who must act, and how."""

import pytest

from estuary_cdk.errors import CdkError, ConfigError, DataError, TransientError
from estuary_cdk.testing.fake_http import FakeHttp, Reply, loopback


async def failure(bucket):
    with pytest.raises(CdkError) as caught:
        await bucket.runtime.discover(bucket.config)
    return caught.value


async def test_a_missing_bucket_is_named(bucket):
    bucket.config["bucket"] = "nobody-has-this"
    error = await failure(bucket)
    assert isinstance(error, ConfigError)
    assert str(error) == (
        "can't list bucket 'nobody-has-this': there is no such bucket (check bucket and endpoint)"
    )


def answer(code, status, region=None, message="No."):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    headers = {"Content-Type": "application/xml"}
    if region:
        headers["x-amz-bucket-region"] = region
    return lambda _: Reply(status, body.encode(), headers)


@pytest.mark.parametrize(
    ("code", "status", "sentence"),
    [
        ("AccessDenied", 403, "access is denied (the credentials need the permission s3:ListBucke"),
        ("InvalidAccessKeyId", 403, "the access key ID is unknown (check the credentials)"),
        ("SignatureDoesNotMatch", 403, "the secret access key is wrong (check the credentials)"),
        ("ExpiredToken", 400, "the credentials have expired (check the credentials)"),
        ("Odd", 400, "the service answered 400 Odd: 'No.'"),
    ],
)
async def test_a_refusal_says_why_and_what_to_do(bucket, code, status, sentence):
    async with loopback(FakeHttp({"GET /*": answer(code, status)})) as url:
        bucket.config["advanced"]["endpoint"] = url
        error = await failure(bucket)
    assert isinstance(error, ConfigError)
    assert f"can't list bucket {bucket.name!r}: {sentence}" in str(error)


async def test_a_file_that_may_not_be_read_names_it_and_the_permission(bucket):
    listing = (
        b"<ListBucketResult><Contents><Key>f.csv</Key><Size>5</Size><ETag>1</ETag>"
        b"<LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>"
    )

    def answered(request):
        if "list-type" in request.query:
            return Reply(200, listing)
        return answer("AccessDenied", 403)(request)

    async with loopback(FakeHttp({"GET /*": answered})) as url:
        bucket.config["advanced"]["endpoint"] = url
        error = await failure(bucket)
    assert isinstance(error, ConfigError)
    assert str(error) == (
        f"can't read '{bucket.name}/f.csv': access is denied "
        "(the credentials need the permission s3:GetObject)"
    )


@pytest.mark.parametrize(
    ("code", "status"), [("PermanentRedirect", 301), ("AuthorizationHeaderMalformed", 400)]
)
async def test_the_wrong_region_names_the_right_one(bucket, code, status):
    routes = {"GET /*": answer(code, status, "eu-west-1"), "HEAD /*": answer(code, status)}
    async with loopback(FakeHttp(routes)) as url:
        bucket.config["advanced"]["endpoint"] = url
        error = await failure(bucket)
    assert isinstance(error, ConfigError)
    assert str(error).endswith(
        "it is in region 'eu-west-1', not 'us-east-1' (set region to eu-west-1)"
    )


async def test_a_service_that_stays_busy_may_recover(bucket, monkeypatch):
    monkeypatch.setattr("source_s3.clients.ATTEMPTS_MAX", 1)
    async with loopback(FakeHttp({"GET /*": answer("SlowDown", 503)})) as url:
        bucket.config["advanced"]["endpoint"] = url
        assert isinstance(await failure(bucket), TransientError)


async def test_nobody_at_the_endpoint_may_be_passing(bucket, monkeypatch):
    monkeypatch.setattr("source_s3.clients.ATTEMPTS_MAX", 1)
    bucket.config["advanced"]["endpoint"] = "http://127.0.0.1:1"
    error = await failure(bucket)
    assert isinstance(error, TransientError)
    assert "(check region and endpoint)" in str(error)


async def test_there_are_no_credentials(bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    for credentials in (
        {"auth_type": "AWSEnvironment"},
        {"auth_type": "AWSIAM", "aws_role_arn": "a"},
    ):
        bucket.config["credentials"] = credentials
        assert "there are no credentials (set credentials)" in str(await failure(bucket))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"bucket": "a/b"}, "/bucket"),
        ({"matchKeys": "("}, "'(' isn't a regular expression"),
        ({"advanced": {"sseCustomerKey": "short"}}, "the key must be 32 bytes in base64"),
        ({"advanced": {"minimumModified": "2026-01-01T00:00:00"}}, "has no offset from UTC"),
        ({"prefx": "in/"}, "/prefx: unknown key, did you mean 'prefix'?"),
    ],
)
async def test_a_wrong_setting_is_named(bucket, change, sentence):
    bucket.config |= change
    assert sentence in str(await failure(bucket))


async def test_a_stream_of_another_bucket_is_refused(bucket):
    bucket.resources["stream"] = "elsewhere/in/"
    bucket.put("f.csv", b"a\n1\n")
    with pytest.raises(ConfigError, match=r"a stream begins with 'bucket-\d+/'"):
        await bucket.run()


async def test_a_bad_file_is_left_out_until_it_changes_if_asked(bucket):
    bucket.put("bad.csv", b"a\n1,2\n")
    bucket.put("good.csv", b"a\n1\n")
    with pytest.raises(DataError, match=r"bad\.csv' line 2, column 2"):
        await bucket.run()
    assert len(bucket.collection()) == 1
    bucket.config["advanced"]["onError"] = "skip"
    await bucket.run()
