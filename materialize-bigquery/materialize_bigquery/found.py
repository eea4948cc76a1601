"""What a query found, in batches: by the Storage Read API, or by the BigQuery API alone."""

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
from google.api_core import exceptions
from google.cloud import bigquery

from materialize_bigquery.service import CALL_TIMEOUT_S, Service

PAGE_ROWS_MAX: Final = 10_000
PAGE_RETRY_S: Final = 120.0


def documents_of(service: Service, job: Any, verb: str) -> Iterator[list[bytes]]:
    """Yield the one column of a finished query's rows."""
    storage = service.storage()
    if storage is not None:
        try:
            session = _session(service, storage, job)
        except exceptions.GoogleAPICallError as error:
            service.without_storage(error)
        else:
            yield from _streamed(service, storage, session, verb)
            return
    yield from _paged(service, job, verb)


def _session(service: Service, storage: Any, job: Any) -> Any:
    """Ask for a read of what a query found: whether the API may be used shows here."""
    from google.cloud.bigquery_storage_v1 import types

    found = job.destination
    table = f"projects/{found.project}/datasets/{found.dataset_id}/tables/{found.table_id}"
    return storage.create_read_session(
        parent=f"projects/{service.config.jobs_project}",
        read_session=types.ReadSession(table=table, data_format=types.DataFormat.ARROW),
        max_stream_count=1,
        retry=None,
        timeout=CALL_TIMEOUT_S,
    )


def _streamed(service: Service, storage: Any, session: Any, verb: str) -> Iterator[list[bytes]]:
    if not session.streams:
        return
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    # Its reader takes up a broken stream where it broke.
    messages = iter(storage.read_rows(session.streams[0].name, timeout=CALL_TIMEOUT_S))
    while (message := service.once(verb, lambda: next(messages, None))) is not None:
        block = pa.py_buffer(message.arrow_record_batch.serialized_record_batch)
        documents = pa.ipc.read_record_batch(block, schema).column(0)
        if len(documents):
            yield documents.cast(pa.binary()).to_pylist()


def _paged(service: Service, job: Any, verb: str) -> Iterator[list[bytes]]:
    # The library tries again within a page: an iterator that failed says that it is at its end.
    again = bigquery.DEFAULT_RETRY.with_timeout(PAGE_RETRY_S)
    rows = service.required(
        verb,
        lambda: job.result(
            page_size=PAGE_ROWS_MAX, retry=again, job_retry=None, timeout=CALL_TIMEOUT_S
        ),
    )
    pages = iter(rows.pages)
    while (page := service.once(verb, lambda: next(pages, None))) is not None:
        documents = [row[0].encode() for row in page]
        if documents:
            yield documents
