"""How the emulator is made to do jobs as BigQuery does them.

Whatever the service would refuse and the emulator wouldn't is refused here; what the emulator
leaves out (tables for results, exact tables for loads, how many rows were loaded) is added.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from estuary_cdk.testing.bigquery_jobs import PLACE, Asked, Insertion, Job, substituted, typed
from estuary_cdk.testing.bigquery_sql import (
    Alter,
    Create,
    Field,
    Name,
    Statement,
    datasets,
    emulated,
    rewritten,
    statements,
)
from estuary_cdk.testing.bigquery_tables import Refused, Tables, normal
from estuary_cdk.testing.bigquery_upstream import Upstream, decoded

RESULTS: Final = "_results"
"""The dataset of the tables that answers of queries are kept in."""
SELECTS: Final = frozenset({"SELECT", "WITH", "("})


class Runs:
    """Does jobs, one at a time."""

    def __init__(self, upstream: Upstream, tables: Tables) -> None:
        self._upstream = upstream
        self._tables = tables

    async def place(self, wanted: Insertion) -> str:
        """Return where a job runs whose location wasn't said: where its data are."""
        for each in _datasets(wanted):
            if found := await self._location(*each):
                return found
        return PLACE

    async def done(self, job: Job, asked: Asked) -> None:
        """Do a job that was taken; raises Refused, after which nothing was done."""
        wanted = job.wanted
        for project, dataset in _datasets(wanted):
            where = await self._location(project, dataset)
            if where and where.upper() != job.location.upper():
                name = f"{project}:{dataset}"
                message = f"Not found: Dataset {name} was not found in location {job.location}"
                raise Refused("notFound", message)
        kind = {"query": self._query, "load": self._load}.get(wanted.kind, self._other)
        await kind(job, asked)

    async def _location(self, project: str, dataset: str) -> str:
        path = f"/bigquery/v2/projects/{project}/datasets/{dataset}"
        _status, answer = await self._upstream.ask("GET", path)
        return str(answer.get("location") or "")

    async def _forward(self, job: Job, asked: Asked) -> None:
        answer = await self._upstream.forward(asked)
        told = decoded(answer)
        if answer.status != 200:
            error = told.get("error") or {"message": "the emulator broke"}
            reason = (error.get("errors") or [{"reason": "internalError"}])[0]["reason"]
            raise Refused(reason, error["message"])
        job.answered = {"statistics": {}, **told}

    async def _query(self, job: Job, asked: Asked) -> None:
        wanted = job.wanted
        script = _statements(wanted)
        changed = await self._tables.after(script)
        query = {**wanted.configuration["query"], "query": rewritten(script)}
        await self._forward(job, substituted(asked, {**wanted.configuration, "query": query}))
        if job.error is not None:
            return
        await self._tables.keep(changed)
        if len(script) == 1:
            await self._described(job, script[0])

    async def _described(self, job: Job, statement: Statement) -> None:
        """Complete what is said of the job of one statement."""
        if isinstance(statement.effect, Alter | Create):
            name = statement.effect.name
            target = {"projectId": name.project, "datasetId": name.dataset, "tableId": name.table}
            query = (job.answered or {}).get("statistics", {}).setdefault("query", {})
            query["ddlTargetTable"] = target
            if isinstance(statement.effect, Alter):
                query["statementType"] = "ALTER_TABLE"
        elif statement.first in SELECTS:
            await self._keep_results(job, statement)

    async def _keep_results(self, job: Job, statement: Statement) -> None:
        """Put the answer of a query into the table that the job names, or one of its own."""
        settings = dict(job.wanted.configuration["query"])
        project = job.wanted.project
        table = settings.pop("destinationTable", None)
        disposition = settings.pop("writeDisposition", "WRITE_EMPTY")
        if table is None:
            path = f"/bigquery/v2/projects/{project}/datasets"
            reference = {"projectId": project, "datasetId": RESULTS}
            await self._upstream.ask("POST", path, {"datasetReference": reference})
            own = "".join(each if each.isalnum() else "_" for each in job.id)
            table = {**reference, "tableId": f"anon_{own}"}
        name = Name(table["projectId"], table["datasetId"], table["tableId"])
        is_there = await self._tables.find(name) is not None
        if is_there and disposition == "WRITE_EMPTY" and await self._tables.count(name):
            raise Refused("duplicate", f"Already Exists: Table {_told(name)}")
        make = f"CREATE OR REPLACE TABLE {name.quoted} AS"
        if is_there and disposition != "WRITE_TRUNCATE":
            make = f"INSERT INTO {name.quoted}"
        sql = emulated(f"{make} {statement.text}")
        try:
            await self._upstream.run(project, sql, settings)
        except Refused:
            # A table can't have what an answer may: columns without a name, or two with the same.
            if "destinationTable" in job.wanted.configuration["query"]:
                raise
            return
        job.destination = table

    async def _load(self, job: Job, asked: Asked) -> None:
        wanted = job.wanted
        load = dict(wanted.configuration["load"])
        for address in load.get("sourceUris") or ():
            await self._upstream.fetch(address)
        table = load["destinationTable"]
        name = Name(table["projectId"], table["datasetId"], table["tableId"])
        is_new = await self._make_destination(name, load)
        truncates = load.get("writeDisposition") == "WRITE_TRUNCATE"
        before = 0 if truncates else await self._tables.count(name)
        load.pop("schema", None)
        plain = substituted(typed(asked), {**wanted.configuration, "load": load})
        try:
            await self._forward(job, plain)
            failed = job.error is not None
        except Refused as error:
            failed = True
            job.fail({"reason": "invalid", "message": str(error)})
        if failed:
            if is_new:
                await self._upstream.ask("DELETE", name.path)
            return
        after = await self._tables.count(name)
        statistics = (job.answered or {})["statistics"].setdefault("load", {})
        statistics["outputRows"] = str(after - before)

    async def _make_destination(self, name: Name, load: Mapping[str, Any]) -> bool:
        """Give a load the table that it asks for; returns whether it is new."""
        found = await self._tables.find(name)
        fields = [normal(each) for each in (load.get("schema") or {}).get("fields") or ()]
        if found is None:
            if load.get("createDisposition") == "CREATE_NEVER":
                raise Refused("notFound", f"Not found: Table {_told(name)}")
            if not fields:
                return False
            more = load.get("destinationTableProperties") or {}
            await self._tables.create(name, {**more, **load, "schema": {"fields": fields}})
            return True
        if not fields or _names(fields) == _names(found["schema"]["fields"]):
            return False
        if load.get("writeDisposition") == "WRITE_TRUNCATE":
            await self._upstream.ask("DELETE", name.path)
            await self._tables.create(name, {**found, "schema": {"fields": fields}})
            return False
        known = {each["name"].lower() for each in found["schema"]["fields"]}
        added = [each for each in fields if each["name"].lower() not in known]
        if added and "ALLOW_FIELD_ADDITION" not in (load.get("schemaUpdateOptions") or ()):
            raise Refused(
                "invalid",
                f"Provided Schema does not match Table {_told(name)}. Cannot add fields "
                f"(field: {added[0]['name']})",
            )
        columns = [*found["schema"]["fields"], *added]
        await self._tables.keep({name: await self._tables.change(name, columns)})
        return False

    async def _other(self, job: Job, asked: Asked) -> None:
        await self._forward(job, asked)


def _statements(wanted: Insertion) -> Sequence[Statement]:
    query = wanted.configuration["query"]
    default = query.get("defaultDataset") or {}
    project = default.get("projectId") or wanted.project
    return statements(wanted.statement, project, default.get("datasetId", ""))


def _datasets(wanted: Insertion) -> list[tuple[str, str]]:
    """Return the datasets that a job needs."""
    body: Mapping[str, Any] = wanted.configuration.get(wanted.kind) or {}
    tables = [body[key] for key in ("destinationTable", "defaultDataset") if body.get(key)]
    found = [(each.get("projectId") or wanted.project, each["datasetId"]) for each in tables]
    if wanted.kind == "query":
        default = body.get("defaultDataset") or {}
        project = default.get("projectId") or wanted.project
        found += datasets(wanted.statement, project, default.get("datasetId", ""))
    return found


def _names(fields: Sequence[Field]) -> set[str]:
    return {each["name"].lower() for each in fields}


def _told(name: Name) -> str:
    return f"{name.project}:{name.dataset}.{name.table}"
