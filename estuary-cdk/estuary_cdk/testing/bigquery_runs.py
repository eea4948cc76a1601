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
        self._has_results: set[str] = set()
        self.places: dict[tuple[str, str], str] = {}
        """Where datasets are; to be cleared by whoever makes or drops any."""

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
        if (project, dataset) not in self.places:
            path = f"/bigquery/v2/projects/{project}/datasets/{dataset}"
            _status, answer = await self._upstream.ask("GET", path)
            if not answer.get("location"):
                return ""
            self.places[project, dataset] = str(answer["location"])
        return self.places[project, dataset]

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
        if len(script) == 1 and script[0].first in SELECTS:
            await self._select(job, asked, script[0])
            return
        self._tables.counts.clear()
        if "SCHEMA" in wanted.statement.upper():
            self.places.clear()
        changed = await self._tables.after(script)
        query = {**wanted.configuration["query"], "query": rewritten(script)}
        await self._forward(job, substituted(asked, {**wanted.configuration, "query": query}))
        if job.error is None:
            await self._tables.keep(changed)
            if len(script) == 1:
                _describe(job, script[0])

    async def _select(self, job: Job, asked: Asked, statement: Statement) -> None:
        """Put what a query finds into the table that the job names, or one of its own."""
        settings = dict(job.wanted.configuration["query"])
        table = settings.pop("destinationTable", None)
        disposition = settings.pop("writeDisposition", "WRITE_EMPTY")
        sql = emulated(statement.text)
        if table is not None:
            job.destination = table
            sql = await self._written(job, table, disposition, sql)
        elif "INFORMATION_SCHEMA" not in sql.upper():
            sql = await self._kept(job, sql)
        configuration = {**job.wanted.configuration, "query": {**settings, "query": sql}}
        await self._forward(job, substituted(asked, configuration))

    async def _written(self, job: Job, table: Mapping[str, str], disposition: str, sql: str) -> str:
        """Write what a query finds as the job says; return what reads it."""
        name = Name(table["projectId"], table["datasetId"], table["tableId"])
        is_there = await self._tables.find(name) is not None
        if is_there and disposition == "WRITE_EMPTY" and await self._tables.count(name):
            raise Refused("duplicate", f"Already Exists: Table {_told(name)}")
        make = f"CREATE OR REPLACE TABLE {name.quoted} AS"
        if is_there and disposition != "WRITE_TRUNCATE":
            make = f"INSERT INTO {name.quoted}"
        self._tables.counts.clear()
        await self._upstream.run(job.wanted.project, f"{make} {sql}", _settings(job))
        return sql if make.startswith("INSERT") else f"SELECT * FROM {name.quoted}"  # noqa: S608

    async def _kept(self, job: Job, sql: str) -> str:
        """Keep what a query finds in a table of the job's own; return what reads it."""
        project = job.wanted.project
        reference = {"projectId": project, "datasetId": RESULTS}
        if project not in self._has_results:
            path = f"/bigquery/v2/projects/{project}/datasets"
            await self._upstream.ask("POST", path, {"datasetReference": reference})
            self._has_results.add(project)
        own = "".join(each if each.isalnum() else "_" for each in job.id)
        name = Name(project, RESULTS, f"anon_{own}")
        try:
            make = f"CREATE TABLE {name.quoted} AS {sql}"
            await self._upstream.run(project, make, _settings(job))
        except Refused:
            # A table can't have what an answer may: columns without a name, or two with the same.
            return sql
        job.destination = {**reference, "tableId": name.table}
        return f"SELECT * FROM {name.quoted}"  # noqa: S608 - a name of ours

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
        # The emulator says how many rows the table has now.
        statistics = (job.answered or {})["statistics"]["load"]
        after = int(statistics["outputRows"])
        statistics["outputRows"] = str(after - before)
        self._tables.counts[name] = after

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
        self._tables.counts.clear()
        await self._forward(job, asked)


def _describe(job: Job, statement: Statement) -> None:
    """Complete what is said of the job of one statement."""
    if isinstance(statement.effect, Alter | Create):
        name = statement.effect.name
        target = {"projectId": name.project, "datasetId": name.dataset, "tableId": name.table}
        query = (job.answered or {}).get("statistics", {}).setdefault("query", {})
        query["ddlTargetTable"] = target
        if isinstance(statement.effect, Alter):
            query["statementType"] = "ALTER_TABLE"


def _settings(job: Job) -> dict[str, Any]:
    """Return what a query needs besides its text and its destination."""
    query = job.wanted.configuration["query"]
    named = ("defaultDataset", "parameterMode", "queryParameters")
    return {key: query[key] for key in named if key in query}


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
