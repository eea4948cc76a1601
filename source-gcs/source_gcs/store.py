"""A Google Cloud Storage bucket as a store, read by ranges of one generation.

A file's identity is its generation, which every range is asked for by. The client library blocks,
so requests run in threads of their own; it also retries, with back-off.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final

import google.auth
import msgspec
import requests
from google.api_core.exceptions import GoogleAPIError
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Blob, Bucket, Client
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2.service_account import Credentials

from estuary_cdk.kits.files import FileChanged, Hints, StoredFile
from source_gcs.config import Anonymous, Config, ServiceAccount
from source_gcs.refusals import refusal

REQUESTS_AT_ONCE: Final = 10  # as many connections as the library keeps
RETRIES_S: Final = 60
TIMEOUT_S: Final = 60
PAGE_FILES: Final = 1000
SCOPE: Final = "https://www.googleapis.com/auth/devstorage.read_only"
FIELDS: Final = "items(name,size,generation,updated,contentType),nextPageToken"
FAILURES: Final = (GoogleAPIError, GoogleAuthError, requests.RequestException, OSError, ValueError)
LIST: Final = "storage.objects.list"
GET: Final = "storage.objects.get"
# Neither has types.
ANONYMOUS: Final[Any] = AnonymousCredentials
SERVICE_ACCOUNT: Final[Any] = Credentials.from_service_account_info


@asynccontextmanager
async def opened(config: Config) -> AsyncGenerator["GcsStore"]:
    """Give the store of a config's bucket."""
    with ThreadPoolExecutor(REQUESTS_AT_ONCE, "gcs") as threads:
        loop = asyncio.get_running_loop()
        try:
            client = await loop.run_in_executor(threads, _client, config)
        except FAILURES as error:
            raise refusal(error, "reach", f"bucket {config.bucket!r}", LIST) from error
        try:
            bucket = client.bucket(config.bucket, user_project=config.advanced.user_project)
            yield GcsStore(bucket, threads)
        finally:
            client.close()


class GcsStore:
    """The files of one bucket."""

    def __init__(self, bucket: Bucket, threads: ThreadPoolExecutor) -> None:
        self._bucket = bucket
        self._threads = threads
        self._options: dict[str, Any] = {
            "retry": DEFAULT_RETRY.with_timeout(RETRIES_S),
            "timeout": TIMEOUT_S,
        }

    async def pages(self, prefix: str, after: str = "") -> AsyncIterator[Sequence[StoredFile]]:
        """List files as `Store` says."""
        blobs = self._bucket.list_blobs(
            prefix=prefix or None,
            start_offset=after or None,
            page_size=PAGE_FILES,
            fields=FIELDS,
            **self._options,
        )
        pages: Iterator[Any] = iter(blobs.pages)

        def next_page() -> list[StoredFile] | None:
            page = next(pages, None)
            return None if page is None else [_listed(blob) for blob in page if blob.name != after]

        what = f"bucket {self._bucket.name!r}"
        page = await self._asked(next_page, "list", what, LIST)
        while page is not None:
            # The next page is on its way while this one is worked on.
            following = asyncio.ensure_future(self._asked(next_page, "list", what, LIST))
            try:
                yield page
                page = await following
            finally:
                following.cancel()

    async def look(self, path: str) -> StoredFile | None:
        """Return the version of a file that is there now."""
        blob = self._bucket.blob(path)
        try:
            await self._asked(lambda: blob.reload(**self._options), "read", self._named(path), GET)
        except FileChanged:
            return None
        return _listed(blob)

    async def read(self, file: StoredFile, start: int, size: int) -> bytes:
        """Read a range as `Store` says."""
        blob = self._bucket.blob(file.path, generation=int(file.identity))

        def ask() -> bytes:
            # As it is stored: otherwise the service undoes a Content-Encoding, and knows no ranges.
            data: bytes = blob.download_as_bytes(
                start=start,
                end=start + size - 1,
                raw_download=True,
                checksum=None,
                **self._options,
            )
            return data

        data: bytes = await self._asked(ask, "read", self._named(file.path), GET)
        return data

    async def _asked(self, ask: Callable[[], Any], verb: str, what: str, permission: str) -> Any:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, ask)
        except FAILURES as error:
            raise refusal(error, verb, what, permission) from error

    def _named(self, path: str) -> str:
        return repr(f"{self._bucket.name}/{path}")


def _client(config: Config) -> Client:
    # For its traces alone the library would ask about the bucket, which takes another permission.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    endpoint = config.advanced.endpoint
    options = {"api_endpoint": endpoint} if endpoint else None
    match config.credentials:
        case Anonymous():
            credentials = ANONYMOUS()
        case ServiceAccount(credentials_json=key):
            info = msgspec.json.decode(key.get_secret_value())
            credentials = SERVICE_ACCOUNT(info, scopes=[SCOPE])
        case _:
            credentials, _ = google.auth.default(scopes=[SCOPE])
    # The project is asked for only where buckets are listed or made.
    return Client(project="-", credentials=credentials, client_options=options)


def _listed(blob: Blob) -> StoredFile:
    hints = Hints(blob.content_type)
    return StoredFile(blob.name, blob.size, str(blob.generation), blob.updated, hints)
