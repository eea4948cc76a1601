"""The service: a client, its calls with back-off and errors of ours, its jobs under ids of ours.

A job's id is chosen before it is sent, and the service takes an id once: whoever sends the job
again, because an answer was lost or because its process died, is told so and looks at the job
instead. An attempt that failed has used up its id, so the next has the next number: `name_1`,
`name_2`. All who run a job of a name, be it at the same time, thus run it successfully once.

Ids are known to the service for half a year.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import sleep
from typing import IO, Any, Final, TypeVar

import requests
from google.api_core import exceptions
from google.auth import exceptions as auth
from google.cloud import bigquery

from estuary_cdk.errors import TransientError
from estuary_cdk.failpoints import failpoint
from estuary_cdk.logs import get_logger
from materialize_bigquery.config import Config
from materialize_bigquery.credentials import client_of, storage_of
from materialize_bigquery.mistakes import Scope, is_transient, may_pass, sentence, translated

log = get_logger(__name__)

CALL_ATTEMPTS_MAX: Final = 8
JOB_ATTEMPTS_MAX: Final = 20
PAUSE_S: Final = 0.2
PAUSE_MAX_S: Final = 30.0
POLL_S: Final = 0.05
POLL_MAX_S: Final = 2.0
CALL_TIMEOUT_S: Final = 120.0
UPLOAD_TIMEOUT_S: Final = 600.0
UPLOAD_WHOLE_BYTES_MAX: Final = 8 * 1024 * 1024

ResultT = TypeVar("ResultT")
_ERRORS: Final = (
    exceptions.GoogleAPICallError,
    requests.RequestException,
    auth.GoogleAuthError,
    ConnectionError,
)


@dataclass(frozen=True, slots=True)
class File:
    """A file to load: an open one of ours, or addresses in a bucket."""

    content: IO[bytes] | None = None
    size: int = 0
    addresses: tuple[str, ...] = ()


class Service:
    """Calls and jobs of one config; may be used from several threads at once."""

    def __init__(self, config: Config, pause: Callable[[float], None] = sleep) -> None:
        self.config = config
        self.scope = Scope(
            config.project_id,
            config.jobs_project,
            f"{config.project_id}.{config.dataset}",
            config.region,
        )
        self._pause = pause
        self.client: Any = self.call("connect to BigQuery", lambda: client_of(config))
        self._storage: Any = None
        self._storage_known = False

    def close(self) -> None:
        """Close connections."""
        self.client.close()
        if self._storage is not None:
            self._storage.transport.close()

    def call(self, verb: str, function: Callable[[], ResultT]) -> ResultT:
        """Call the service, again where that may help; raises an error of ours.

        NotFound and Conflict are left to the caller.
        """
        for attempt in range(CALL_ATTEMPTS_MAX):
            try:
                return function()
            except (exceptions.NotFound, exceptions.Conflict):
                raise
            except _ERRORS as error:
                if not is_transient(error) or attempt + 1 == CALL_ATTEMPTS_MAX:
                    raise translated(error, self.scope, verb) from error
                log.warning(
                    "the service can't be used now, trying again",
                    attempt=attempt + 1,
                    reason=type(error).__name__,
                )
                self._pause(min(PAUSE_S * 2**attempt, PAUSE_MAX_S))
        raise AssertionError

    def required(self, verb: str, function: Callable[[], ResultT]) -> ResultT:
        """Call the service for what must be there."""
        try:
            return self.call(verb, function)
        except (exceptions.NotFound, exceptions.Conflict) as error:
            raise translated(error, self.scope, verb) from error

    def once(self, verb: str, function: Callable[[], ResultT]) -> ResultT:
        """Call the service once: what goes on after a failure isn't what went on before it."""
        try:
            return function()
        except _ERRORS as error:
            raise translated(error, self.scope, verb) from error

    # Jobs.

    def run(self, name: str, verb: str, insert: Callable[[str], Any]) -> Any:
        """Run a job, once and successfully, whoever else runs it; return it.

        `insert` sends it under an id. Raises what its failure means.
        """
        ours = 0
        number = 0
        while True:
            number += 1
            sent = self._sent(f"{name}_{number}", verb, insert)
            failure = self._ended(sent, verb)
            if failure is None:
                return sent.job
            if not sent.is_ours:
                continue  # its cause may be gone by now
            ours += 1
            reason, message = str(failure.get("reason", "")), str(failure.get("message", ""))
            if not may_pass(failure) or ours >= JOB_ATTEMPTS_MAX:
                raise sentence(reason, message, self.scope, verb)
            log.warning("a job failed, trying again", attempt=ours, reason=reason)
            self._pause(min(PAUSE_S * 2 ** (ours - 1), PAUSE_MAX_S))

    def _sent(self, job_id: str, verb: str, insert: Callable[[str], Any]) -> "_Sent":
        try:
            job = self.call(verb, lambda: insert(job_id))
            failpoint("materialize-bigquery.job")
            return _Sent(job, is_ours=True)
        except exceptions.Conflict:
            return _Sent(self.required(verb, lambda: self._found(job_id)), is_ours=False)
        except exceptions.NotFound as error:
            raise translated(error, self.scope, verb) from error

    def _found(self, job_id: str) -> Any:
        return self.client.get_job(
            job_id,
            project=self.config.jobs_project,
            location=self.config.region,
            retry=None,
            timeout=CALL_TIMEOUT_S,
        )

    def _ended(self, sent: "_Sent", verb: str) -> dict[str, Any] | None:
        """Wait until a job is done; return why it failed, None if it didn't."""
        waited = POLL_S
        while sent.job.state != "DONE":
            self._pause(waited)
            waited = min(waited * 1.5, POLL_MAX_S)
            self.required(verb, lambda: sent.job.reload(retry=None, timeout=CALL_TIMEOUT_S))
        result: dict[str, Any] | None = sent.job.error_result
        return result

    def query(
        self, name: str, verb: str, sql: str, parameters: Sequence[Any] = (), **labels: str
    ) -> Any:
        """Run a statement or script as a job of a name; return the job."""
        settings = bigquery.QueryJobConfig(
            query_parameters=list(parameters), labels=labels, use_query_cache=False
        )

        def insert(job_id: str) -> Any:
            return self.client.query(
                sql,
                job_config=settings,
                job_id=job_id,
                project=self.config.jobs_project,
                location=self.config.region,
                retry=None,
                job_retry=None,
                timeout=CALL_TIMEOUT_S,
            )

        return self.run(name, verb, insert)

    def load(self, name: str, table: str, schema: Sequence[Any], file: File) -> None:
        """Append a Parquet file to a table."""
        settings = bigquery.LoadJobConfig(
            source_format=bigquery.SourceFormat.PARQUET,
            schema=list(schema),
            write_disposition=bigquery.WriteDisposition.WRITE_APPEND,
            create_disposition=bigquery.CreateDisposition.CREATE_NEVER,
        )
        named = {
            "project": self.config.jobs_project,
            "location": self.config.region,
            "job_config": settings,
        }

        def insert(job_id: str) -> Any:
            if file.addresses:
                return self.client.load_table_from_uri(
                    list(file.addresses),
                    table,
                    job_id=job_id,
                    retry=None,
                    timeout=CALL_TIMEOUT_S,
                    **named,
                )
            # A small file goes in one request; a large one in parts, which need less memory.
            whole = file.size if file.size <= UPLOAD_WHOLE_BYTES_MAX else None
            return self.client.load_table_from_file(
                file.content,
                table,
                rewind=True,
                size=whole,
                num_retries=0 if whole else 3,
                job_id=job_id,
                timeout=UPLOAD_TIMEOUT_S,
                **named,
            )

        self.run(name, f"load rows into table {table!r}", insert)

    # What a query found.

    def storage(self) -> Any:
        """Return the client of the Storage Read API, None where rows are read by the API."""
        if not self._storage_known:
            self._storage = storage_of(self.config)
            self._storage_known = True
        return self._storage

    def without_storage(self, error: Exception) -> None:
        """Read by the API from here on."""
        log.warning(
            "the Storage Read API can't be used: rows are read by the slower BigQuery API",
            reason=type(error).__name__,
        )
        with suppress(Exception):
            self._storage.transport.close()
        self._storage = None

    def forget_table(self, table: str) -> None:
        """Delete a table of ours that is of no use any more; one that is gone is fine."""
        try:
            self.call(
                f"delete table {table!r}",
                lambda: self.client.delete_table(
                    table, not_found_ok=True, retry=None, timeout=CALL_TIMEOUT_S
                ),
            )
        except TransientError as error:
            log.warning("can't delete a staged table; it expires", table=table, reason=str(error))


@dataclass(frozen=True, slots=True)
class _Sent:
    """A job, and whether it is this process that sent it."""

    job: Any
    is_ours: bool
