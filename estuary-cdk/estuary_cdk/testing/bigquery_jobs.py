"""BigQuery's jobs, as the service knows them and the emulator doesn't.

A job is known by project, location and id; whoever chose its id finds it again, and nobody can use
the id twice. The emulator forgets the ids and places of uploads, and takes an id any number of
times.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

JOBS: Final = re.compile(r"^(?P<upload>/upload)?/bigquery/v2/projects/(?P<project>[^/]+)/jobs$")
JOB: Final = re.compile(r"^/bigquery/v2/projects/(?P<project>[^/]+)/jobs/(?P<id>[^/]+)$")
CANCEL: Final = re.compile(r"^/bigquery/v2/projects/(?P<project>[^/]+)/jobs/(?P<id>[^/]+)/cancel$")
RESULTS: Final = re.compile(r"^/bigquery/v2/projects/(?P<project>[^/]+)/queries/(?P<id>[^/]+)$")
QUERIES: Final = re.compile(r"^/bigquery/v2/projects/(?P<project>[^/]+)/queries$")
KINDS: Final = ("load", "query", "copy", "extract")
PLACE: Final = "US"
HEAD_BYTES_MAX: Final = 1000


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True)
        return {name: values[-1] for name, values in found.items()}


@dataclass(frozen=True, slots=True)
class Insertion:
    """A job that somebody wants made; an empty id or location means that the service chooses."""

    project: str
    id: str
    location: str
    configuration: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return next((each for each in KINDS if each in self.configuration), "")

    @property
    def statement(self) -> str:
        return str(self.configuration.get("query", {}).get("query", ""))

    @property
    def is_dry(self) -> bool:
        return bool(self.configuration.get("dryRun"))


def insertion(asked: Asked) -> Insertion | None:
    """Read the job out of a request that names one whole; None: it doesn't."""
    found = JOBS.match(asked.path)
    if found is None or asked.method != "POST":
        return None
    text = asked.body
    if found["upload"] and asked.query.get("uploadType") == "multipart":
        text = _first_part(asked)
    return _insertion(found["project"], text)


def upload_is_whole(asked: Asked) -> bool:
    """Say whether a piece of an upload is its last."""
    found = re.match(r"bytes (\d+)-(\d+)/(\d+)$", asked.headers.get("Content-Range", ""))
    if found is None:
        return "Content-Range" not in asked.headers
    return int(found[2]) + 1 == int(found[3])


def _insertion(project: str, text: bytes) -> Insertion | None:
    try:
        wanted = msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    reference = wanted.get("jobReference") or {}
    return Insertion(
        project,
        str(reference.get("jobId") or ""),
        str(reference.get("location") or ""),
        wanted.get("configuration") or {},
    )


def _first_part(asked: Asked) -> bytes:
    """Return the first part of a multipart body, which is the job."""
    start, end = _first_part_range(asked)
    return asked.body[start:end]


def substituted(asked: Asked, configuration: Mapping[str, Any]) -> Asked:
    """Return a request that makes a job with another configuration, if the job is in it."""
    if asked.method != "POST":
        return asked
    start, end = 0, len(asked.body)
    if asked.query.get("uploadType") == "multipart":
        start, end = _first_part_range(asked)
    wanted = msgspec.json.decode(asked.body[start:end], type=dict[str, Any])
    text = msgspec.json.encode({**wanted, "configuration": configuration})
    tail = b"\r\n" if start else b""
    return replace(asked, body=b"".join((asked.body[:start], text, tail, asked.body[end:])))


def without_schema(asked: Asked) -> Asked:
    """Return a request for an upload that leaves the table's columns to others."""
    configuration = msgspec.json.decode(asked.body, type=dict[str, Any])["configuration"]
    load = {name: value for name, value in configuration["load"].items() if name != "schema"}
    return substituted(asked, {**configuration, "load": load})


def typed(asked: Asked) -> Asked:
    """Return a request whose file has a type that the emulator takes; the clients' is `*/*`."""
    if asked.query.get("uploadType") != "multipart":
        return asked
    _start, end = _first_part_range(asked)
    head, rest = asked.body[: end + HEAD_BYTES_MAX], asked.body[end + HEAD_BYTES_MAX :]
    known = head[end:].replace(b"*/*", b"application/octet-stream", 1)
    return replace(asked, body=head[:end] + known + rest)


def _first_part_range(asked: Asked) -> tuple[int, int]:
    found = re.search(r"boundary=[\"']?([^\"';]+)", asked.headers.get("Content-Type", ""))
    mark = b"--" + (found[1].encode() if found else b"")
    start = asked.body.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX) + 4
    return start, asked.body.find(mark, start)


@dataclass(slots=True)
class Job:
    """A job that was taken. `answered` is the emulator's resource, None as long as it works."""

    wanted: Insertion
    id: str
    location: str
    answered: Mapping[str, Any] | None = None
    polls: int = 0
    """How often it says that it runs before it says that it is done."""
    destination: Mapping[str, str] | None = None
    """The table that has what a query found."""

    @property
    def upstream_id(self) -> str:
        """What the emulator calls it."""
        reference = (self.answered or {}).get("jobReference") or {}
        return str(reference.get("jobId") or self.id)

    @property
    def reference(self) -> dict[str, str]:
        return {"projectId": self.wanted.project, "jobId": self.id, "location": self.location}

    @property
    def error(self) -> Mapping[str, str] | None:
        """Why it failed; None if it didn't, or runs."""
        status = (self.answered or {}).get("status") or {}
        return status.get("errorResult")

    def fail(self, error: Mapping[str, str]) -> None:
        """End it without having done anything."""
        status = {"state": "DONE", "errorResult": error, "errors": [error]}
        self.answered = {"status": status, "statistics": {}}

    def resource(self) -> dict[str, Any]:
        """Return what jobs.get answers now."""
        kind = self.wanted.kind
        configuration = {**self.wanted.configuration, "jobType": kind.upper()}
        if self.destination is not None:
            configuration[kind] = {**configuration[kind], "destinationTable": self.destination}
        runs = self.answered is None or self.polls > 0
        answered = self.answered or {}
        zero = {"creationTime": "0", "startTime": "0"}
        statistics = {**zero, **({} if runs else {"endTime": "0", **answered["statistics"]})}
        return {
            "kind": "bigquery#job",
            "etag": "x",
            "id": f"{self.wanted.project}:{self.location}.{self.id}",
            "selfLink": f"/bigquery/v2/projects/{self.wanted.project}/jobs/{self.id}",
            "user_email": "test@test.iam.gserviceaccount.com",
            "configuration": configuration,
            "jobReference": self.reference,
            "statistics": statistics,
            "status": {"state": "RUNNING"} if runs else answered["status"],
        }


@dataclass(slots=True)
class Jobs:
    """All jobs that were taken, and the uploads that will be jobs."""

    taken: dict[tuple[str, str, str], Job] = field(default_factory=dict)
    uploads: dict[str, Insertion] = field(default_factory=dict)
    uploaded: dict[str, Job] = field(default_factory=dict)
    """Those that uploads became; whoever repeats the last piece is told of the same job."""

    def take(self, job: Job) -> bool:
        """Take a job; False if there is one with its id."""
        return self.taken.setdefault(_key(job), job) is job

    def drop(self, job: Job) -> None:
        """Forget a job that couldn't be taken."""
        self.taken.pop(_key(job), None)

    def find(self, project: str, job_id: str, location: str) -> Job | None:
        """Return a job; without a location, from anywhere."""
        if location:
            return self.taken.get((project, location.upper(), job_id))
        keys = (key for key in self.taken if key[0] == project and key[2] == job_id)
        return next((self.taken[key] for key in keys), None)


def _key(job: Job) -> tuple[str, str, str]:
    return job.wanted.project, job.location.upper(), job.id
