"""A bucket in which files wait while they are loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from google.cloud import storage

from estuary_cdk.logs import get_logger
from materialize_bigquery.config import Bucket, Config
from materialize_bigquery.credentials import credentials_of
from materialize_bigquery.service import UPLOAD_TIMEOUT_S, Service

log = get_logger(__name__)


class Files:
    """Files of ours in a bucket; each is deleted once it was loaded."""

    def __init__(self, service: Service, chosen: Bucket) -> None:
        self._service = service
        self._name = chosen.bucket
        self._folder = chosen.bucket_path.strip("/")
        self._bucket: Any = client_of(service.config).bucket(chosen.bucket)

    @contextmanager
    def kept(self, name: str, content: IO[bytes], size: int) -> Iterator[str]:
        """Keep a file in the bucket for as long as it is needed; gives its address."""
        path = "/".join(filter(None, (self._folder, f"{name}.parquet")))
        blob = self._bucket.blob(path)
        self._service.required(
            f"write to bucket {self._name!r}",
            lambda: blob.upload_from_file(
                content, rewind=True, size=size, timeout=UPLOAD_TIMEOUT_S, retry=None
            ),
        )
        try:
            yield f"gs://{self._name}/{path}"
        finally:
            self._service.call(f"delete from bucket {self._name!r}", lambda: _deleted(blob))


def _deleted(blob: Any) -> None:
    from google.api_core import exceptions

    try:
        blob.delete(retry=None)
    except exceptions.NotFound:
        log.debug("a staged file is gone already")


def client_of(config: Config) -> Any:
    """Return a client of Google Cloud Storage."""
    own = config.advanced.gcs_endpoint
    return storage.Client(
        project=config.jobs_project,
        credentials=credentials_of(config),
        client_options={"api_endpoint": own} if own else None,
    )
