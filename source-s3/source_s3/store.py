"""An S3 bucket as a store: listed in parallel, read by ranges of one version.

A file's identity is its ETag, and every range is asked for on the condition that it still has it.
botocore blocks, so requests run in threads of their own; it also retries, with back-off.
"""

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.files import FileChanged, Hints, StoredFile
from estuary_cdk.logs import get_logger
from source_s3.answers import page_of
from source_s3.clients import FAILURES, REQUESTS_AT_ONCE, bucket_client
from source_s3.config import Config
from source_s3.listing import Page, Question, in_order
from source_s3.refusals import refusal

log = get_logger(__name__)

BODIES_MAX = 4
PAGE_FILES = 1000


@asynccontextmanager
async def opened(config: Config) -> AsyncGenerator["S3Store"]:
    """Give the store of a config's bucket."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE, "s3") as threads:
        client = await asyncio.get_running_loop().run_in_executor(threads, bucket_client, config)
        try:
            yield S3Store(client, config, threads)
        finally:
            client.close()


class S3Store:
    """The files of one bucket."""

    def __init__(self, client: Any, config: Config, threads: ThreadPoolExecutor) -> None:
        self.client = client
        self._config = config
        self._threads = threads
        self._paying = {"RequestPayer": "requester"} if config.advanced.requester_pays else {}
        self._reading = self._paying | _customer_key(config)

    async def pages(self, prefix: str, after: str = "") -> AsyncIterator[Sequence[StoredFile]]:
        """List files as `Store` says; archived ones, which can't be read, are passed over."""
        archived = 0

        async def ask(question: Question) -> Page:
            nonlocal archived
            page, left_out = await self._page(question)
            archived += 0 if question.folders else left_out
            return page

        async with aclosing(in_order(ask, prefix, after)) as listing:
            async for files in listing:
                yield files
        if archived:
            log.info("archived files are passed over", prefix=prefix, files=archived)

    async def _page(self, question: Question) -> tuple[Page, int]:
        asked: dict[str, Any] = {"Bucket": self._config.bucket, "MaxKeys": PAGE_FILES}
        asked |= {"Prefix": question.prefix} | self._paying
        if question.token is not None:
            asked["ContinuationToken"] = question.token
        elif question.after:
            asked["StartAfter"] = question.after
        if question.folders:
            asked["Delimiter"] = "/"

        def ask() -> tuple[Page, int]:
            return page_of(self.client.list_objects_v2(**asked))

        page: tuple[Page, int] = await self._asked(ask, "list", f"bucket {self._config.bucket!r}")
        return page

    async def look(self, path: str) -> StoredFile | None:
        """Return the version of a file that is there now."""
        try:
            head = await self._head(path)
        except FileChanged:
            return None
        return StoredFile(path, head["ContentLength"], head["ETag"], head["LastModified"])

    async def hints(self, file: StoredFile) -> Hints:
        """Return the content type of a version, which listings don't have."""
        head = await self._head(file.path, IfMatch=file.identity)
        return Hints(head.get("ContentType"))

    async def _head(self, path: str, **asked: str) -> Mapping[str, Any]:
        place = {"Bucket": self._config.bucket, "Key": path, **self._reading, **asked}
        ask = partial(self.client.head_object, **place)
        head: Mapping[str, Any] = await self._asked(ask, "read", self._named(path), "s3:GetObject")
        return head

    async def read(self, file: StoredFile, start: int, size: int) -> bytes:
        """Read a range as `Store` says."""
        ask = partial(
            self.client.get_object,
            Bucket=self._config.bucket,
            Key=file.path,
            Range=f"bytes={start}-{start + size - 1}",
            IfMatch=file.identity,
            **self._reading,
        )

        def whole() -> bytes:
            body: bytes = ask()["Body"].read()
            return body

        for attempt in range(1, BODIES_MAX + 1):
            try:
                data: bytes = await self._asked(
                    whole, "read", self._named(file.path), "s3:GetObject"
                )
            except FileChanged:
                raise
            except TransientError:
                # botocore retries requests, but not answers that break off.
                if attempt == BODIES_MAX:
                    raise
            else:
                return data
        raise AssertionError("the last attempt returns or raises")

    async def _asked(
        self, ask: Callable[[], Any], verb: str, what: str, permission: str = "s3:ListBucket"
    ) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, ask)
        except FAILURES as error:
            raise refusal(error, verb, what, self._config.region, permission) from error

    def _named(self, path: str) -> str:
        return repr(f"{self._config.bucket}/{path}")


def _customer_key(config: Config) -> dict[str, str]:
    if config.advanced.sse_customer_key is None:
        return {}
    key = base64.b64decode(config.advanced.sse_customer_key.get_secret_value())
    return {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": base64.b64encode(key).decode(),
        "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(key).digest()).decode(),  # noqa: S324 - as S3 asks
    }
