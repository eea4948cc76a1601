"""Word from a queue has new files captured in seconds, and is settled once they are durable."""

import botocore.session
import msgspec
import pytest

from estuary_cdk.errors import CdkError, ConfigError
from estuary_cdk.testing.fake_http import FakeHttp, Reply, loopback
from source_s3.config import Config, Notifications
from source_s3.notifications import keys_of, notices


class Queue:
    """A queue of the private service."""

    def __init__(self, endpoint, name):
        self.client = botocore.session.Session().create_client(
            "sqs",
            region_name="us-east-1",
            endpoint_url=endpoint,
            aws_access_key_id="someone",
            aws_secret_access_key="secret",
        )
        self.url = self.client.create_queue(QueueName=name)["QueueUrl"]

    def tell(self, *messages):
        for message in messages:
            self.client.send_message(QueueUrl=self.url, MessageBody=message)

    @property
    def left(self):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(map(int, told["Attributes"].values()))


@pytest.fixture
def queue(bucket, endpoint, monkeypatch):
    monkeypatch.setattr("source_s3.notifications.WAIT_S", 0)
    queue = Queue(endpoint, bucket.name)
    bucket.config["advanced"]["notifications"] = {"queueUrl": queue.url}
    yield queue
    queue.client.close()


def event(bucket, *keys):
    records = [{"s3": {"bucket": {"name": bucket}, "object": {"key": key}}} for key in keys]
    return msgspec.json.encode({"Records": records}).decode()


def after(*steps):
    """Take a step whenever what the one before waits for was captured; stop after the last."""
    left = list(steps)

    def until(session):
        while left:
            count, step = left[0]
            if len(session.documents) < count:
                return False
            left.pop(0)
            if step is not None:
                step()
        return True

    return until


async def test_files_that_the_queue_tells_of_are_captured_in_the_same_run(bucket, queue):
    bucket.config["advanced"]["onDelete"] = "delete"
    bucket.config["prefixes"] = ["in/", "other/"]
    bucket.put("in/a.csv", b"id\n1\n")

    def changed():
        bucket.put("in/b c.csv", b"id\n2\n")
        bucket.put("other/d.csv", b"id\n4\n")
        queue.tell(event(bucket.name, "in/b+c.csv", "other/d.csv", "elsewhere/e.csv"))

    def gone():
        bucket.remove("in/a.csv")
        queue.tell(event(bucket.name, "in/a.csv"))

    def again():
        bucket.put("in/a.csv", b"id\n5\n")
        queue.tell(event(bucket.name, "in/a.csv"), event(bucket.name, "in/a.csv"))

    steps = ((1, changed), (3, gone), (4, again), (5, None))
    session = await bucket.run(after(*steps))
    assert [document["_meta"]["op"] for document in session.of(0)] == ["c", "c", "d", "c"]
    assert sorted(document["id"] for document in bucket.collection()) == [2, 5]
    assert [document["id"] for document in bucket.collection(1)] == [4]


async def test_a_message_is_settled_once_its_files_are_durable_and_others_are_left(bucket, queue):
    bucket.put("a.csv", b"id\n1\n")
    stranger = event("another-bucket", "x.csv")
    setup = msgspec.json.encode({"Event": "s3:TestEvent", "Bucket": bucket.name}).decode()

    def more():
        bucket.put("b.csv", b"id\n2\n")
        queue.tell("not for us", stranger, setup, event(bucket.name, "b.csv"))

    def last():
        bucket.put("c.csv", b"id\n3\n")
        queue.tell(event(bucket.name, "c.csv"))

    await bucket.run(after((1, more), (2, last), (3, None)), kill=True)
    # The last one's document was committed, but the connector hadn't heard so when it was killed.
    assert queue.left == 3


async def test_word_that_concerns_another_shard_is_given_back(bucket, queue):
    queue.tell(event(bucket.name, "a.csv"), event(bucket.name, "b.csv"))
    async with notices(Config.model_validate(bucket.config)) as told:
        paths = []
        while len(paths) < 2:
            notice = await told.next()
            paths += notice.paths
            await notice.settle(["b.csv"])
        assert queue.left == 1
        again = await told.next()
    assert again.paths == ["b.csv"]


async def validated(bucket):
    built = await bucket.runtime.build(bucket.config)
    return [binding.resource_path for binding in built.bindings]


async def refused(bucket):
    with pytest.raises(CdkError) as caught:
        await validated(bucket)
    assert isinstance(caught.value, ConfigError)
    return str(caught.value)


async def test_a_queue_that_may_be_used_passes_validation_and_keeps_its_messages(bucket, queue):
    queue.tell(event(bucket.name, "a.csv"), "not for us")
    assert await validated(bucket) == [[f"{bucket.name}/"]]
    told = queue.client.receive_message(QueueUrl=queue.url, MaxNumberOfMessages=10)
    assert len(told["Messages"]) == 2


async def test_a_queue_that_does_not_exist_is_named_by_validation(bucket, queue):
    bucket.config["advanced"]["notifications"]["queueUrl"] += "-missing"
    assert "there is no such queue (check queueUrl)" in await refused(bucket)


@pytest.mark.parametrize("denied", ["ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility"])
async def test_what_is_not_allowed_of_a_queue_is_told_by_validation(bucket, denied):
    def answered(request):
        action = request.headers["X-Amz-Target"].rpartition(".")[2]
        code = "AccessDenied" if action == denied else "ReceiptHandleIsInvalid"
        body = {"__type": f"com.amazonaws.sqs#{code}", "message": "No."}
        if action == "ReceiveMessage" != denied:
            return Reply(200, b"{}", {"Content-Type": "application/x-amz-json-1.0"})
        return Reply(400, msgspec.json.encode(body), {"Content-Type": "application/x-amz-json-1.0"})

    async with loopback(FakeHttp({"POST /*": answered})) as url:
        bucket.config["advanced"]["notifications"] = {"queueUrl": f"{url}/1/files"}
        said = await refused(bucket)
    queue = f"queue '{url}/1/files'"
    hint = f"the credentials need the permission sqs:{denied}"
    assert said == f"can't use {queue}: access is denied ({hint})"


async def test_notifications_and_ascending_keys_exclude_each_other(bucket, queue):
    bucket.config["advanced"]["ascendingKeys"] = True
    with pytest.raises(ConfigError, match="notifications come in no order"):
        await bucket.runtime.discover(bucket.config)


@pytest.mark.parametrize(
    ("body", "keys"),
    [
        (event("b", "a+b%C3%BC.csv"), ["a bü.csv"]),
        (msgspec.json.encode({"Type": "Notification", "Message": event("b", "k")}).decode(), ["k"]),
        ('{"detail":{"bucket":{"name":"b"},"object":{"key":"a+b"}}}', ["a+b"]),
        ('{"Event":"s3:TestEvent","Bucket":"b"}', []),
        (event("other", "k"), None),
        ('{"detail":{"bucket":{"name":"other"},"object":{"key":"k"}}}', None),
        ('{"Records":[]}', None),
        ('{"Records":[{"s3":7}]}', None),
        ("[]", None),
        ("7", None),
        ("no JSON", None),
    ],
)
def test_messages_of_every_way_are_understood(body, keys):
    assert keys_of(body, "b") == keys


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sqs.eu-central-1.amazonaws.com/123456789012/files", "eu-central-1"),
        ("https://sqs.us-gov-west-1.amazonaws.com/123456789012/files", "us-gov-west-1"),
        ("https://queue.example.com/1/files", None),
    ],
)
def test_the_region_of_a_queue_is_in_its_address(url, region):
    assert Notifications(queue_url=url).region == region
