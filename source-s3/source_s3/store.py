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

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config as ClientConfig
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.loaders import create_loader

from estuary_cdk.errors import TransientError
from estuary_cdk.kits.files import FileChanged, Hints, StoredFile
from estuary_cdk.logs import get_logger
from source_s3.config import AccessKey, Anonymous, Config, Role
from source_s3.listing import Page, Question, in_order
from source_s3.refusals import refusal

log = get_logger(__name__)

REQUESTS_AT_ONCE = 16
ATTEMPTS_MAX = 6
BODIES_MAX = 4
TIMEOUT_S = 60
PAGE_FILES = 1000
ARCHIVED = {"GLACIER", "DEEP_ARCHIVE"}
LOADER = create_loader()  # keeps descriptions of services, which are large, once they are parsed
FAILURES = (BotoCoreError, ClientError, ValueError, OSError)


@asynccontextmanager
async def opened(config: Config) -> AsyncGenerator["S3Store"]:
    """Give the store of a config's bucket."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE, "s3") as threads:
        client = await asyncio.get_running_loop().run_in_executor(threads, _client, config)
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
            page = await self._page(question)
            contents = page.get("Contents", ())
            readable = [each for each in contents if each.get("StorageClass") not in ARCHIVED]
            if not question.folders:
                archived += len(contents) - len(readable)
            return Page(
                [_listed(each) for each in readable],
                contents[-1]["Key"] if contents else "",
                page.get("NextContinuationToken"),
                [each["Prefix"] for each in page.get("CommonPrefixes", ())],
            )

        async with aclosing(in_order(ask, prefix, after)) as listing:
            async for files in listing:
                yield files
        if archived:
            log.info("archived files are passed over", prefix=prefix, files=archived)

    async def _page(self, question: Question) -> Mapping[str, Any]:
        asked: dict[str, Any] = {"Bucket": self._config.bucket, "MaxKeys": PAGE_FILES}
        asked |= {"Prefix": question.prefix} | self._paying
        if question.token is not None:
            asked["ContinuationToken"] = question.token
        elif question.after:
            asked["StartAfter"] = question.after
        if question.folders:
            asked["Delimiter"] = "/"
        ask = partial(self.client.list_objects_v2, **asked)
        page: Mapping[str, Any] = await self._asked(ask, "list", f"bucket {self._config.bucket!r}")
        return page

    async def look(self, path: str) -> StoredFile | None:
        """Return the version of a file that is there now."""
        ask = partial(
            self.client.head_object, Bucket=self._config.bucket, Key=path, **self._reading
        )
        try:
            head = await self._asked(ask, "read", self._named(path), "s3:GetObject")
        except FileChanged:
            return None
        return StoredFile(
            path,
            head["ContentLength"],
            head["ETag"],
            head["LastModified"],
            Hints(head.get("ContentType")),
        )

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


def _client(config: Config) -> Any:
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    credentials = config.credentials
    options: dict[str, Any] = {}
    if isinstance(credentials, AccessKey):
        options["aws_access_key_id"] = credentials.access_key_id
        options["aws_secret_access_key"] = credentials.secret_access_key.get_secret_value()
    advanced = config.advanced
    path_style = advanced.path_style or advanced.endpoint is not None
    try:
        if isinstance(credentials, Role):
            _assume(session, credentials)
        return session.create_client(
            "s3",
            region_name=config.region,
            endpoint_url=advanced.endpoint,
            config=ClientConfig(
                connect_timeout=TIMEOUT_S,
                read_timeout=TIMEOUT_S,
                max_pool_connections=REQUESTS_AT_ONCE,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
                s3={"addressing_style": "path" if path_style else "auto"},
                **({"signature_version": UNSIGNED} if isinstance(credentials, Anonymous) else {}),
            ),
            **options,
        )
    except FAILURES as error:
        raise refusal(error, "reach", f"bucket {config.bucket!r}", config.region) from error


def _assume(session: Any, role: Role) -> None:
    """Have the session use a role's credentials, fetched when needed and again before they end."""
    source = session.get_credentials()
    if source is None:
        raise NoCredentialsError
    extra = {"RoleSessionName": "estuary-source-s3"}
    if role.external_id:
        extra["ExternalId"] = role.external_id
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=partial(session.create_client, region_name=role.region),
        source_credentials=source,
        role_arn=role.role_arn,
        extra_args=extra,
    )
    session._credentials = DeferredRefreshableCredentials(  # noqa: SLF001 - there is no other way
        fetcher.fetch_credentials, "assume-role"
    )


def _customer_key(config: Config) -> dict[str, str]:
    if config.advanced.sse_customer_key is None:
        return {}
    key = base64.b64decode(config.advanced.sse_customer_key.get_secret_value())
    return {
        "SSECustomerAlgorithm": "AES256",
        "SSECustomerKey": base64.b64encode(key).decode(),
        "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(key).digest()).decode(),  # noqa: S324 - as S3 asks
    }


def _listed(each: Mapping[str, Any]) -> StoredFile:
    return StoredFile(each["Key"], each["Size"], each["ETag"], each["LastModified"])
