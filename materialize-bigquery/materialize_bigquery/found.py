"""What a query found, in batches: by the Storage Read API, or by the BigQuery API alone."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from google.api_core import exceptions

from materialize_bigquery.service import CALL_TIMEOUT_S, Service


def documents_of(service: Service, job: Any, verb: str) -> Iterator[list[bytes]]:
    """Yield the one column of a finished query's rows."""
    rows = service.required(
        verb, lambda: job.result(retry=None, job_retry=None, timeout=CALL_TIMEOUT_S)
    )
    storage = service.storage()
    if storage is not None:
        try:
            first, rest = service.required(verb, lambda: _begun(rows, storage))
        except exceptions.GoogleAPICallError as error:
            service.without_storage(error)
        else:
            yield from _batches(first, rest)
            return
        rows = service.required(verb, lambda: job.result(retry=None, job_retry=None))
    first, rest = service.required(verb, lambda: _begun(rows, None))
    yield from _batches(first, rest)


def _begun(rows: Any, storage: Any) -> tuple[Any, Iterator[Any]]:
    """Ask for the first batch: whether the API may be used shows here."""
    batches = iter(rows.to_arrow_iterable(bqstorage_client=storage))
    return next(batches, None), batches


def _batches(first: Any, rest: Iterator[Any]) -> Iterator[list[bytes]]:
    batch = first
    while batch is not None:
        documents = batch.column(0)
        if len(documents):
            yield documents.cast(pa.binary()).to_pylist()
        batch = next(rest, None)
