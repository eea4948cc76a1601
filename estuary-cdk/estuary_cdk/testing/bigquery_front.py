"""The service that clients of BigQuery see in tests: the emulator, and what the real one has more.

It answers for jobs itself (see `bigquery_jobs`) and completes what is said of tables (see
`bigquery_tables`); faults happen here (see `bigquery_faults`). Everything else it hands on.
"""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import msgspec
from aiohttp import web

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
    upload_is_whole,
    without_schema,
)
from estuary_cdk.testing.bigquery_runs import Runs
from estuary_cdk.testing.bigquery_sql import Name, rewritten, statements
from estuary_cdk.testing.bigquery_tables import Refused, Tables
from estuary_cdk.testing.bigquery_upstream import Upstream, decoded

HOST: Final = "127.0.0.1"
BODY_BYTES_MAX: Final = 1 << 31
SHUTDOWN_SECONDS: Final = 0.01
DATASETS: Final = re.compile(r"^/bigquery/v2/projects/[^/]+/datasets$")
TABLES: Final = re.compile(
    r"^/bigquery/v2/projects/(?P<project>[^/]+)/datasets/(?P<dataset>[^/]+)"
    r"(?:/tables(?:/(?P<table>[^/]+))?)?$"
)


class _BreakError(Exception):
    """The connection is to be closed without an answer."""


class Front:
    """The running service; `address` is known once it was started."""

    def __init__(self, emulator: str, files: Path) -> None:
        self.address = ""
        self.upstream = Upstream(emulator, files)
        self.faults = Faults()
        self.calls: list[Call] = []
        self.polls = 0
        self.jobs = Jobs()
        self.tables = Tables(self.upstream)
        self._runs = Runs(self.upstream, self.tables)
        self._requests: dict[str, web.Response] = {}
        self._turn = asyncio.Lock()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        await self.upstream.start()
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
        await self.upstream.stop()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = Asked(request.method, request.path_qs, request.headers, body)
        try:
            return await self._answer(asked)
        except Refused as error:
            return _refused(error.refusal)
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
        for pattern in (JOB, CANCEL, RESULTS):
            found = pattern.match(asked.path)
            if found is not None and asked.method != "DELETE":
                place = asked.query.get("location", "")
                job = self.jobs.find(found["project"], found["id"], place)
                if job is not None or place:
                    return await self._of_job(job, pattern, asked, found)
        async with self._turn:
            if (found := QUERIES.match(asked.path)) and asked.method == "POST":
                return await self._asked_at_once(asked, found["project"], failure)
            if (found := TABLES.match(asked.path)) is not None:
                return await self._of_tables(asked, found)
            if DATASETS.match(asked.path) and asked.method != "GET":
                self._runs.places.clear()
            elif DATASETS.match(asked.path):
                status, answer = await self.upstream.ask("GET", asked.target)
                shown = [each for each in answer.get("datasets") or () if not _is_hidden(each)]
                return _json({**answer, "datasets": shown}, status)
            return await self.upstream.forward(asked)

    async def _insert(
        self, asked: Asked, wanted: Insertion, failure: JobFailure | None
    ) -> web.Response:
        upload = asked.query.get("upload_id", "")
        if upload in self.jobs.uploaded:
            return _json(self.jobs.uploaded[upload].resource())
        place = wanted.location or await self._runs.place(wanted)
        job = Job(wanted, wanted.id or f"job_{uuid4().hex}", place)
        if not self.jobs.take(job):
            return _refused(_taken(job))
        if failure is not None:
            job.fail(failure.result)
        else:
            await self._run(job, asked)
        job.polls = self.polls
        if upload:
            self.jobs.uploaded[upload] = job
        return _json(job.resource())

    async def _run(self, job: Job, asked: Asked) -> None:
        try:
            async with self._turn:
                await self._runs.done(job, asked)
        except Refused as error:
            job.fail({"reason": error.refusal.reason, "message": error.refusal.message})
        except BaseException:
            self.jobs.drop(job)
            raise

    async def _begin_upload(self, asked: Asked) -> web.Response:
        wanted = insertion(asked)
        if wanted is not None and wanted.id and wanted.location:
            known = self.jobs.find(wanted.project, wanted.id, wanted.location)
            if known is not None:
                return _refused(_taken(known))
        async with self._turn:
            answer = await self.upstream.forward(without_schema(asked))
        place = parse_qs(urlsplit(answer.headers.get("Location", "")).query)
        if wanted is not None and "upload_id" in place:
            self.jobs.uploads[place["upload_id"][0]] = wanted
        return answer

    async def _of_job(
        self, job: Job | None, pattern: re.Pattern[str], asked: Asked, found: re.Match[str]
    ) -> web.Response:
        if job is None:
            place = asked.query.get("location", PLACE)
            name = f"{found['project']}:{place}.{found['id']}"
            return _refused(Refusal("notFound", f"Not found: Job {name}"))
        if pattern is RESULTS:
            return await self._results(job, asked)
        resource = job.resource()
        if pattern is CANCEL:
            return _json({"kind": "bigquery#jobCancelResponse", "job": resource})
        job.polls = max(0, job.polls - 1)
        return _json(resource)

    async def _results(self, job: Job, asked: Asked) -> web.Response:
        if job.answered is None or job.polls > 0:
            job.polls = max(0, job.polls - 1)
            kind = "bigquery#getQueryResultsResponse"
            return _json({"kind": kind, "jobReference": job.reference, "jobComplete": False})
        if job.error is not None:
            return _refused(_of_error(job.error))
        async with self._turn:
            answer = await self.upstream.forward(asked)
        if answer.status != 200:
            return answer
        return _json({**decoded(answer), "jobReference": job.reference})

    async def _asked_at_once(
        self, asked: Asked, project: str, failure: JobFailure | None
    ) -> web.Response:
        """Answer `jobs.query`: whose request was answered before is answered the same."""
        body = msgspec.json.decode(asked.body, type=dict[str, Any])
        request = body.get("requestId") or uuid4().hex
        if request in self._requests:
            return _again(self._requests[request])
        if failure is not None:
            return _refused(_of_error(failure.result))
        script = statements(body.get("query", ""), project)
        self.tables.counts.clear()
        changed = await self.tables.after(script)
        told = {**body, "query": rewritten(script)}
        status, answer = await self.upstream.ask("POST", asked.path, told)
        if status == 200 and answer.get("errors"):
            return _refused(_of_error(answer["errors"][0]))
        if status == 200:
            await self.tables.keep(changed)
        self._requests[request] = _json(answer, status)
        return _again(self._requests[request])

    async def _of_tables(self, asked: Asked, found: re.Match[str]) -> web.Response:
        body = msgspec.json.decode(asked.body, type=dict[str, Any]) if asked.body else {}
        is_list = found["table"] is None and not asked.path.endswith("/tables")
        if is_list or asked.query.get("view"):
            if asked.method != "GET":
                self._runs.places.clear()
            if asked.method == "DELETE":
                self.tables.forget(found["project"], found["dataset"])
            return await self.upstream.forward(asked)
        table = unquote(found["table"] or "") or (body.get("tableReference") or {}).get(
            "tableId", ""
        )
        name = Name(found["project"], found["dataset"], table)
        fields = (body.get("schema") or {}).get("fields")
        if asked.method == "POST" and fields:
            await self.tables.insert(name, body)
        elif asked.method in {"PATCH", "PUT"}:
            await self.tables.update(name, body, whole=asked.method == "PUT")
        elif asked.method == "GET" and found["table"]:
            pass
        else:
            self.tables.known.pop(name, None)
            self.tables.counts.pop(name, None)
            return await self.upstream.forward(asked)
        status, answer = await self.upstream.ask("GET", name.path)
        return _json(await self.tables.told(name, answer) if status == 200 else answer, status)


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


def _is_hidden(dataset: Mapping[str, Any]) -> bool:
    return str(dataset["datasetReference"]["datasetId"]).startswith("_")


def _taken(job: Job) -> Refusal:
    name = f"{job.wanted.project}:{job.location}.{job.id}"
    return Refusal("duplicate", f"Already Exists: Job {name}")


def _of_error(error: Mapping[str, str]) -> Refusal:
    reason = error.get("reason", "")
    return Refusal(reason if reason in STATUS_OF_REASON else "invalid", error.get("message", ""))


def _again(answer: web.Response) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, content_type="application/json")


def _json(value: Mapping[str, Any], status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(status=status, body=body, content_type="application/json")


def _refused(refusal: Refusal) -> web.Response:
    return _json(refusal.answer, refusal.status)
