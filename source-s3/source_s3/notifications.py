"""A queue that a bucket's events are sent to: S3's own, by way of a topic, or EventBridge's.

A message is taken off the queue once what its files held is durable. Messages that aren't about
this bucket's files are left for others, or for the queue's own rule on what nobody takes.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final
from urllib.parse import unquote_plus

import msgspec
from botocore.exceptions import ClientError

from estuary_cdk.errors import CdkError
from estuary_cdk.kits.files.notices import Notice
from estuary_cdk.logs import get_logger
from source_s3.clients import FAILURES, queue_client
from source_s3.config import Config
from source_s3.refusals import refusal

log = get_logger(__name__)

RECEIVE: Final = "sqs:ReceiveMessage"
DELETE: Final = "sqs:DeleteMessage"
GIVE_BACK: Final = "sqs:ChangeMessageVisibility"
NO_HANDLE: Final = "none"
MESSAGES_MAX: Final = 10
WAIT_S: Final = 3  # a run that is stopped waits for as long


@asynccontextmanager
async def notices(config: Config) -> AsyncGenerator["QueueNotices | None"]:
    """Give what a config's queue tells; None where it has none."""
    if config.advanced.notifications is None:
        yield None
        return
    with ThreadPoolExecutor(1, "sqs") as thread:
        loop = asyncio.get_running_loop()
        queue = config.advanced.notifications
        client = await loop.run_in_executor(thread, queue_client, config, queue)
        try:
            yield QueueNotices(client, config, thread)
        finally:
            client.close()


class QueueNotices:
    """Word of the files of a bucket."""

    def __init__(self, client: Any, config: Config, thread: ThreadPoolExecutor) -> None:
        assert config.advanced.notifications is not None
        self._client = client
        self._bucket = config.bucket
        self._queue = config.advanced.notifications
        self._region = self._queue.region or config.region
        self._thread = thread

    async def check(self) -> None:
        """Raise ConfigError unless the queue is there and all that is asked of it is allowed.

        A message that is looked at is given back at once; others are named that nobody has.
        """
        looked = {"MaxNumberOfMessages": 1, "WaitTimeSeconds": 0, "VisibilityTimeout": 0}
        await self._asked(RECEIVE, self._client.receive_message, **looked)
        for permission, ask, more in (
            (DELETE, self._client.delete_message, {}),
            (GIVE_BACK, self._client.change_message_visibility, {"VisibilityTimeout": 0}),
        ):
            try:
                await self._asked(permission, ask, ReceiptHandle=NO_HANDLE, **more)
            except CdkError as error:
                if not _is_of_handle(error.__cause__):
                    raise

    async def next(self) -> Notice:
        """Wait for word as `Notices` says."""
        answer = await self._asked(
            RECEIVE,
            self._client.receive_message,
            MaxNumberOfMessages=MESSAGES_MAX,
            WaitTimeSeconds=WAIT_S,
        )
        keys: dict[str, list[str]] = {}
        for message in answer.get("Messages", ()):
            found = keys_of(message["Body"], self._bucket)
            if found is None:
                log.warning("message is no event of the bucket", id=message["MessageId"])
            else:
                keys[message["ReceiptHandle"]] = found
        paths = [key for each in keys.values() for key in each]
        notice = Notice(paths, partial(self._settle, keys))
        if keys and not paths:
            await notice.settle(())  # nothing but tests of the setup
        return notice

    async def _settle(self, keys: dict[str, list[str]], others: Sequence[str]) -> None:
        for handle, named in keys.items():
            if set(named).isdisjoint(others):
                await self._asked(DELETE, self._client.delete_message, ReceiptHandle=handle)
            else:
                await self._asked(
                    GIVE_BACK,
                    self._client.change_message_visibility,
                    ReceiptHandle=handle,
                    VisibilityTimeout=0,
                )

    async def _asked(self, permission: str, ask: Callable[..., Any], **asked: Any) -> Any:
        url = self._queue.queue_url
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, partial(ask, QueueUrl=url, **asked))
        except FAILURES as error:
            raise refusal(error, "use", f"queue {url!r}", self._region, permission) from error


def _is_of_handle(error: BaseException | None) -> bool:
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    return code.endswith(("ReceiptHandleIsInvalid", "InvalidParameterValue"))


def keys_of(body: str, bucket: str) -> list[str] | None:
    """Return the keys that a message says files of a bucket have; None if it isn't about that."""
    try:
        event = msgspec.json.decode(body)
        if isinstance(event, dict) and event.get("Type") == "Notification":
            event = msgspec.json.decode(event["Message"])
        if event.get("Event") == "s3:TestEvent":
            return [] if event["Bucket"] == bucket else None
        if "detail" in event:
            detail = event["detail"]
            return [detail["object"]["key"]] if detail["bucket"]["name"] == bucket else None
        told = [record["s3"] for record in event["Records"]]
        keys = [unquote_plus(s3["object"]["key"]) for s3 in told if s3["bucket"]["name"] == bucket]
    except (msgspec.DecodeError, AttributeError, LookupError, TypeError):
        return None
    return keys or None
