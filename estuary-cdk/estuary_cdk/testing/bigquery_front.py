"""The service that clients of BigQuery see in tests: the emulator, and what the real one has more.

It answers for jobs itself (see `bigquery_jobs`), lets faults happen (see `bigquery_faults`) and
fetches a load's files from a store; everything else it hands on.
"""

import fnmatch
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import aiohttp
import msgspec
from aiohttp import web
from yarl import URL

from estuary_cdk.testing.bigquery_faults import (
    STATUS_OF_REASON,
    Break,
    Call,
    Faults,
    JobFailure,
    Refusal,
)
from estuary_cdk.testing.bigquery_jobs import (
    CANCEL,
    JOB,
    PLACE,
    QUERIES,
    RESULTS,
    Asked,
    Insertion,
    Job,
    Jobs,
    insertion,
    typed,
    upload_is_whole,
)

HOST: Final = "127.0.0.1"
BODY_BYTES_MAX: Final = 1 << 31
SHUTDOWN_SECONDS: Final = 0.01
_DROPPED: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "date", "server", "transfer-encoding"}
)


class _BreakError(Exception):
    """The connection is to be closed without an answer."""


class Front:
    """The running service; `address` is known once it was started."""

    def __init__(self, emulator: str, files: Path) -> None:
        self.emulator = emulator
        self.address = ""
        self.faults = Faults()
        self.calls: list[Call] = []
        self.polls = 0
        self.store: str | None = None
        self.jobs = Jobs()
        self._files = files
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        application = web.Application(client_max_size=BODY_BYTES_MAX)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            application, shutdown_timeout=SHUTDOWN_SECONDS, access_log=None
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        self.address = f"http://{HOST}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = Asked(request.method, request.path_qs, request.headers, body)
        try:
            return await self._answer(asked)
        except _BreakError:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()

    async def _answer(self, asked: Asked) -> web.Response:
        wanted = self._wanted(asked)
        call = _call(asked, wanted)
        self.calls.append(call)
        fault = self.faults.due(call)
        if fault is Break.BEFORE:
            raise _BreakError
        if isinstance(fault, Refusal):
            return _refused(fault)
        failure = fault if isinstance(fault, JobFailure) else None
        answer = await self._done(asked, wanted, failure)
        if fault is Break.AFTER:
            raise _BreakError
        return answer

    def _wanted(self, asked: Asked) -> Insertion | None:
        """Return the job that a request makes."""
        if asked.method == "PUT" and upload_is_whole(asked):
            return self.jobs.uploads.get(asked.query.get("upload_id", ""))
        if asked.query.get("uploadType") == "resumable":
            return None
        return insertion(asked)

    async def _done(
        self, asked: Asked, wanted: Insertion | None, failure: JobFailure | None
    ) -> web.Response:
        if wanted is not None and not wanted.is_dry:
            return await self._insert(asked, wanted, failure)
        if asked.query.get("uploadType") == "resumable" and asked.method == "POST":
            return await self._begin_upload(asked)
        for pattern, answer in ((JOB, self._job), (CANCEL, self._cancelled)):
            if found := pattern.match(asked.path):
                known = self.jobs.find(
                    found["project"], found["id"], asked.query.get("location", "")
                )
                if asked.method != "DELETE":
                    return answer(known, asked, found)
        if (found := RESULTS.match(asked.path)) is not None:
            known = self.jobs.find(found["project"], found["id"], asked.query.get("location", ""))
            if known is not None:
                return await self._results(known, asked)
        return await self._forward(asked)

    async def _insert(
        self, asked: Asked, wanted: Insertion, failure: JobFailure | None
    ) -> web.Response:
        upload = asked.query.get("upload_id", "")
        if upload in self.jobs.uploaded:
            return _json(self.jobs.uploaded[upload].resource())
        place = wanted.location or await self._place(wanted)
        job = Job(wanted, wanted.id or f"job_{uuid4().hex}", place)
        if not self.jobs.take(job):
            name = f"{wanted.project}:{place}.{job.id}"
            return _refused(Refusal("duplicate", f"Already Exists: Job {name}"))
        if failure is not None:
            job.fail(failure.result)
            return _json(job.resource())
        try:
            await self._fetch(wanted)
            answer = await self._forward(typed(asked))
        except BaseException:
            self.jobs.drop(job)
            raise
        if answer.status == 400 and wanted.kind == "load":
            error = _decoded(answer).get("error") or {}
            job.fail({"reason": "invalid", "message": str(error.get("message"))})
        elif answer.status != 200:
            self.jobs.drop(job)
            return answer
        else:
            job.answered = {"statistics": {}, **_decoded(answer)}
        job.polls = self.polls
        if upload:
            self.jobs.uploaded[upload] = job
        return _json(job.resource())

    async def _begin_upload(self, asked: Asked) -> web.Response:
        wanted = insertion(asked)
        if wanted is not None and wanted.id and wanted.location:
            known = self.jobs.find(wanted.project, wanted.id, wanted.location)
            if known is not None:
                name = f"{wanted.project}:{known.location}.{known.id}"
                return _refused(Refusal("duplicate", f"Already Exists: Job {name}"))
        answer = await self._forward(asked)
        place = parse_qs(urlsplit(answer.headers.get("Location", "")).query)
        if wanted is not None and "upload_id" in place:
            self.jobs.uploads[place["upload_id"][0]] = wanted
        return answer

    def _job(self, job: Job | None, asked: Asked, found: re.Match[str]) -> web.Response:
        if job is None:
            place = asked.query.get("location", PLACE)
            name = f"{found['project']}:{place}.{found['id']}"
            return _refused(Refusal("notFound", f"Not found: Job {name}"))
        resource = job.resource()
        job.polls = max(0, job.polls - 1)
        return _json(resource)

    def _cancelled(self, job: Job | None, asked: Asked, found: re.Match[str]) -> web.Response:
        answer = self._job(job, asked, found)
        if job is None:
            return answer
        return _json({"kind": "bigquery#jobCancelResponse", "job": job.resource()})

    async def _results(self, job: Job, asked: Asked) -> web.Response:
        if job.answered is None or job.polls > 0:
            job.polls = max(0, job.polls - 1)
            kind = "bigquery#getQueryResultsResponse"
            return _json({"kind": kind, "jobReference": job.reference, "jobComplete": False})
        if job.error is not None:
            reason = job.error.get("reason", "")
            known = reason if reason in STATUS_OF_REASON else "invalid"
            return _refused(Refusal(known, job.error.get("message", "")))
        answer = await self._forward(asked)
        if answer.status != 200:
            return answer
        return _json({**_decoded(answer), "jobReference": job.reference})

    async def _place(self, wanted: Insertion) -> str:
        """Return where a job runs whose location wasn't said: where its dataset is."""
        body: Mapping[str, Any] = wanted.configuration.get(wanted.kind) or {}
        table = body.get("destinationTable") or body.get("defaultDataset") or {}
        if "datasetId" not in table:
            return PLACE
        project = table.get("projectId", wanted.project)
        dataset = await self._json(f"/bigquery/v2/projects/{project}/datasets/{table['datasetId']}")
        return str(dataset.get("location") or PLACE)

    async def _fetch(self, wanted: Insertion) -> None:
        """Put the files that a load names where the emulator looks for them."""
        if self.store is None or wanted.kind != "load":
            return
        for address in wanted.configuration["load"].get("sourceUris") or ():
            parts = urlsplit(address)
            await self._fetch_all(self.store, parts.netloc, parts.path.removeprefix("/"))

    async def _fetch_all(self, store: str, bucket: str, pattern: str) -> None:
        assert self._session is not None
        listing = f"{store}/storage/v1/b/{bucket}/o"
        prefix = pattern.partition("*")[0]
        query = {"prefix": prefix}
        while True:
            async with self._session.get(listing, params=query) as answer:
                page = msgspec.json.decode(await answer.read(), type=dict[str, Any])
            for each in page.get("items") or ():
                name = each["name"]
                if not fnmatch.fnmatchcase(name, pattern):
                    continue
                url = URL(f"{listing}/{quote(name, safe='')}?alt=media", encoded=True)
                async with self._session.get(url) as answer:
                    goal = self._files / bucket / name
                    goal.parent.mkdir(parents=True, exist_ok=True)
                    goal.write_bytes(await answer.read())
            if "nextPageToken" not in page:
                return
            query["pageToken"] = page["nextPageToken"]

    async def _json(self, target: str) -> dict[str, Any]:
        """Return what the emulator answers, nothing if it refuses."""
        answer = await self._forward(Asked("GET", target, {}, b""))
        return _decoded(answer) if answer.status == 200 else {}

    async def _forward(self, asked: Asked) -> web.Response:
        assert self._session is not None
        headers = _kept(asked.headers)
        url = URL(self.emulator + asked.target, encoded=True)
        async with self._session.request(
            asked.method, url, headers=headers, data=BytesIO(asked.body), allow_redirects=False
        ) as answer:
            body = await answer.read()
            return web.Response(status=answer.status, body=body, headers=_kept(answer.headers))


def _call(asked: Asked, wanted: Insertion | None) -> Call:
    if wanted is not None:
        return Call(
            asked.method,
            asked.path,
            asked.query,
            wanted.kind,
            wanted.id,
            wanted.statement,
            wanted.configuration,
        )
    if asked.method == "POST" and QUERIES.match(asked.path):
        sql = str(msgspec.json.decode(asked.body, type=dict[str, Any]).get("query", ""))
        return Call(asked.method, asked.path, asked.query, "query", statement=sql)
    return Call(asked.method, asked.path, asked.query)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _DROPPED}


def _decoded(answer: web.Response) -> dict[str, Any]:
    assert isinstance(answer.body, bytes)
    return msgspec.json.decode(answer.body, type=dict[str, Any])


def _json(value: Mapping[str, Any], status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")


def _refused(refusal: Refusal) -> web.Response:
    return _json(refusal.answer, refusal.status)
