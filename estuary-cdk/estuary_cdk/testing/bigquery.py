"""A private BigQuery service for tests: an emulator in a process of its own, on loopback ports.

    with bigquery() as service:
        client_options = {"api_endpoint": service.url}
        service.inject(Fault(Break.AFTER, job="load"))

The emulator is the PyPI package `bqemulator`, in an environment of its own, `bqemulator` in this
Python's prefix, where `bin/servers` puts it; it keeps everything in memory. Clients talk REST
through a front in the tests' own process, which has what the real service has and the emulator
hasn't (job ids that are used once, above all) and lets faults happen; and gRPC with the emulator
itself. It ends, and its directory is removed, however the process that started it ends.

What the front mends: a job's id is used once, found by whoever chose it, and has a location, which
must be its data's; an upload's last piece may be repeated; a load that fails is a failed job, and
says how many rows it loaded; NUMERIC has its 9 decimals; tables tell exact types, descriptions,
labels, partitions, clusters, expiry and numbers of rows, and what ALTER TABLE (of several actions)
and `tables.patch` changed; changes the service refuses are refused; what a query found is in its
destination, or in a table of its own, where the Storage Read API finds it; `gs://` reads a store.

What stays different from the service:

- Requests are done one after the other. Those to the Storage APIs aren't, and see what a script's
  transaction hasn't committed.
- There are no permissions, quotas, sessions or billed bytes; temporary tables are everybody's.
- A BIGNUMERIC of more than 38 digits doesn't fit; one without parameters has 28 digits before the
  point and 10 after it. A decimal without quotes is a double.
- As texts, decimals have all the digits of their column (`1.500000000`), and doubles at least one
  after the point (`1.0`), where the service says `1.5` and `1`.
- NaN equals NaN. JSON keeps numbers that the service rounds. Times below the microsecond are cut.
- In literals of text `\\u` and `\\x` aren't read, and are refused in those of bytes.
- MERGE takes several source rows for one row; columns that it sets can't be qualified.
- An exception handler's ROLLBACK rolls nothing back, and `@@error` isn't known; a script without a
  handler that fails does roll back. There is no ASSERT and no `FORMAT('%T')`.
- UNNEST of structs gives one column. Columns without a name aren't `f0_`; those of a result are all
  nullable.
- Names of tables are of ASCII letters, digits, `_` and `-`. Of columns' names nothing is refused.
- INFORMATION_SCHEMA has no COLUMN_FIELD_PATHS, JOBS or PARTITIONS, and tells no partitions; what it
  answers isn't kept in a table.
- Partitions and clusters are told and not used; no filter is required; tables don't expire.
- Parquet is loaded by the position of columns, all of the table's, into a table that exists or
  whose schema the job has. In NDJSON names are told apart by case, unknown ones are left out,
  strings are taken for numbers, and gzip isn't read.
- A read session of few rows has one stream, and estimates no number of rows.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Final

from estuary_cdk.errors import ConfigError
from estuary_cdk.testing.bigquery_faults import (
    BACKEND_ERROR,
    CONCURRENT_UPDATE,
    QUOTA_EXCEEDED,
    RATE_LIMITED,
    Break,
    Call,
    Fault,
    JobFailure,
    Refusal,
    access_denied,
    dataset_not_found,
    invalid_query,
)
from estuary_cdk.testing.bigquery_front import Front
from estuary_cdk.transport import LoopThread

__all__ = [
    "BACKEND_ERROR",
    "CONCURRENT_UPDATE",
    "QUOTA_EXCEEDED",
    "RATE_LIMITED",
    "BigQuery",
    "Break",
    "Call",
    "Fault",
    "JobFailure",
    "Refusal",
    "access_denied",
    "bigquery",
    "dataset_not_found",
    "environment",
    "invalid_query",
]

LOG_LINES_MAX: Final = 200
STOP_TIMEOUT_S: Final = 20
LISTENS: Final = re.compile(r'"port": (\d+), "event": "(rest|grpc)\.listen"')

# Its input ends with whoever holds the other end, be that by kill -9.
_GUARD: Final = 'cat >/dev/null; kill -KILL "$1"; rm -rf "$2"'


def environment() -> Path | None:
    """Return the emulator's own environment, None where `bin/servers` didn't make it."""
    place = Path(sys.prefix, "bqemulator")
    return place if (place / "bin" / "bqemulator").exists() else None


class BigQuery:
    """A running service: it has no dataset, takes any project name and any credentials."""

    def __init__(self, front: Front, grpc: str, log: deque[str]) -> None:
        self._front = front
        self.storage: Final = grpc
        """Where the Storage Read and Write APIs listen, without TLS: host and port."""
        self.log: Final = log
        """The emulator's last lines."""

    @property
    def url(self) -> str:
        """The address of the REST API, for `api_endpoint`."""
        return self._front.address

    @property
    def emulator_url(self) -> str:
        """The address of the emulator's own REST API, for measurements: without what is added."""
        return self._front.upstream.address

    @property
    def calls(self) -> list[Call]:
        """All requests since the last `forget`, in the order they came."""
        return self._front.calls

    def inject(self, *faults: Fault) -> None:
        """Let faults happen, from now on and until they have."""
        for fault in faults:
            self._front.faults.add(fault)

    def forget(self) -> None:
        """Forget the faults that didn't happen yet, and the requests; jobs and tables stay."""
        self._front.faults.clear()
        self._front.calls.clear()
        self._front.polls = 0

    def run_long(self, polls: int) -> None:
        """Let jobs say that they run, when made and at so many questions after that."""
        self._front.polls = polls

    def read_files_from(self, store: str | None) -> None:
        """Let loads take `gs://` addresses from a store: the address that `gcs()` gave."""
        self._front.upstream.store = store


@contextmanager
def bigquery() -> Iterator[BigQuery]:
    """Run a new service.

    Raises ConfigError where the emulator isn't installed.
    """
    place = environment()
    if place is None:
        raise ConfigError(
            "can't run the emulator of BigQuery: it isn't installed", hint="run bin/servers"
        )
    directory = Path(tempfile.mkdtemp(prefix="bigquery-"))
    thread = LoopThread("bigquery front")
    with _emulator(place, directory) as (rest, grpc, log):
        front = Front(f"http://127.0.0.1:{rest}", directory / "gcs")
        thread.start()
        try:
            thread.call(front.start())
            yield BigQuery(front, f"127.0.0.1:{grpc}", log)
        finally:
            thread.call(front.stop())
            thread.stop()


@contextmanager
def _emulator(place: Path, directory: Path) -> Iterator[tuple[int, int, deque[str]]]:
    for folder in ("gcs", "uploads"):
        (directory / folder).mkdir()
    settings = {
        "PATH": os.environ.get("PATH", ""),
        # The extension that it needs was put there, so that it fetches nothing.
        "HOME": str(place / "home"),
        "TMPDIR": str(directory),
        "TZ": "UTC",
        "BQEMU_ENABLE_FORMAT_EXTENSIONS": "false",
        "BQEMU_GCS_LOCAL_ROOT": str(directory / "gcs"),
        "BQEMU_QUERY_CACHE_TTL_SECONDS": "0",
        "BQEMU_UPLOAD_STAGING_DIR": str(directory / "uploads"),
    }
    command = [str(place / "bin" / "bqemulator"), "start", "--rest-port", "0", "--grpc-port", "0"]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=settings,
        cwd=directory,
        start_new_session=True,
    ) as server:
        with _guarded(server.pid, directory):
            assert server.stdout is not None
            log: deque[str] = deque(maxlen=LOG_LINES_MAX)
            ports: dict[str, int] = {}
            for line in server.stdout:
                log.append(line)
                if found := LISTENS.search(line):
                    ports[found[2]] = int(found[1])
                if len(ports) == 2:
                    break
            else:
                raise RuntimeError(f"can't start the emulator of BigQuery: {''.join(log)[-2000:]}")
            # It logs every request; a full pipe would stop it.
            reading = Thread(target=log.extend, args=[server.stdout], daemon=True)
            reading.start()
            yield ports["rest"], ports["grpc"], log
        reading.join(STOP_TIMEOUT_S)


@contextmanager
def _guarded(server: int, directory: Path) -> Iterator[None]:
    """Have the server killed and its directory removed when we end, in the block or after it."""
    with subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "bigquery-guard", str(server), str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # What a terminal or a supervisor sends to our group must not end it before us.
        start_new_session=True,
    ):
        yield
