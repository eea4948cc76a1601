"""A dataset for one test: at the emulator, or at the real service for those who have credentials.

BIGQUERY_LIVE_CONFIG names a file that has an endpoint config in JSON. A test makes a dataset of its
own beside the one this names, and deletes it.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as library

from estuary_cdk.materialize import Binding, Column, CreateTable, Field, Keys, Shard, Stores
from estuary_cdk.testing.bigquery import BigQuery
from estuary_cdk.testing.selection import optional, required
from materialize_bigquery.config import Config, Resource, path
from materialize_bigquery.credentials import client_of
from materialize_bigquery.names import table_name
from materialize_bigquery.schema import BigQueryDestination, connect
from materialize_bigquery.transactor import open_transactor

LIVE_CONFIG = "BIGQUERY_LIVE_CONFIG"
PROJECT = "acme-project"
WHOLE = Shard("acme/task", 0, 0xFFFFFFFF)


class Dataset:
    """A dataset, as the connector is told of it, and as the client library sees it."""

    def __init__(self, settings: dict[str, Any], client: Any, service: BigQuery | None) -> None:
        self._settings = settings
        self.client = client
        self.service = service
        self.name: str = settings["dataset"]
        self.project: str = settings["project_id"]

    def settings(self, **more: Any) -> dict[str, Any]:
        advanced = {**self._settings.get("advanced", {}), **more.pop("advanced", {})}
        return {**self._settings, **more, "advanced": advanced}

    def config(self, **more: Any) -> Config:
        return Config.model_validate(self.settings(**more))

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement in which `{d}` is the dataset."""
        found = self.client.query(
            sql.replace("{d}", f"{self.project}.{self.name}"), retry=None, job_retry=None
        ).result(retry=None, job_retry=None)
        return [tuple(row.values()) for row in found]

    def rows(self, table: str) -> Sequence[dict[str, Any]]:
        name = f"`{self.project}.{self.name}.{table_name(table)}`"
        found = self.client.query(f"SELECT * FROM {name}", retry=None, job_retry=None)
        return [
            {key: _plain(value) for key, value in row.items()}
            for row in found.result(retry=None, job_retry=None)
        ]

    def documents(self, table: str) -> list[bytes]:
        return [row["flow_document"].encode() for row in self.rows(table)]

    def tables(self) -> list[str]:
        sql = "SELECT table_name FROM `{d}`.INFORMATION_SCHEMA.TABLES"
        return sorted(row[0] for row in self.run(sql))

    def staged(self) -> list[str]:
        return [name for name in self.tables() if name.startswith("flow_staged_")]

    def types(self, table: str) -> dict[str, str]:
        with connect(self.config()) as destination:
            [found] = destination.tables([(self.project, self.name, table)])
        return {} if found is None else {each.name: each.type for each in found.columns}

    def table(self, name: str) -> Any:
        with connect(self.config()) as destination:
            return destination.tables([(self.project, self.name, name)])[0]

    def field(self, name: str, *types: str, key: bool = False, **inference: Any) -> Field:
        pointer = "" if name == "flow_document" else f"/{name}"
        may = inference.pop("exists", "MUST") == "MAY"
        told = (optional if may else required)(*types, **inference)
        return Field(name, name, pointer, told, is_key=key)

    def binding(
        self,
        table: str = "t",
        keys: Sequence[Field] | None = None,
        values: Sequence[Field] | None = None,
        *,
        index: int = 0,
        delta: bool = False,
        whole: bool = True,
        **resource: Any,
    ) -> Binding[Resource]:
        chosen = Resource.model_validate({"table": table, "delta_updates": delta, **resource})
        return Binding(
            index=index,
            resource=chosen,
            path=path(self.config(), chosen),
            collection="acme/collection",
            keys=tuple(keys or [self.field("id", "integer", key=True)]),
            values=tuple([self.field("v", "string", "null")] if values is None else values),
            document=self.field("flow_document", "object") if whole else None,
            delta_updates=delta,
            backfill=0,
            state_key=f"{table}.v0",
        )

    def columns(
        self, destination: BigQueryDestination, binding: Binding[Any]
    ) -> tuple[Column, ...]:
        types = destination.rules.column_type
        return tuple(
            Column(field.column, str(types(field)), nullable=field.nullable)
            for field in binding.fields
        )

    def create(self, *bindings: Binding[Any], **more: Any) -> None:
        with connect(self.config(**more)) as destination:
            destination.prepare([binding.path for binding in bindings])
            for binding in bindings:
                destination.apply(CreateTable(binding, self.columns(destination, binding)))

    def apply(self, *changes: Any) -> str:
        with connect(self.config()) as destination:
            return "\n".join(map(destination.apply, changes))

    @contextmanager
    def opened(
        self, *bindings: Binding[Resource], shard: Shard = WHOLE, **more: Any
    ) -> Iterator[Any]:
        with open_transactor(self.config(**more), bindings, shard) as transactor:
            yield transactor

    def stores(self, *rows: Sequence[Any], binding: int = 0, **flags: Any) -> Stores:
        """Rows of key and value; the document says the same."""
        return Stores(
            binding,
            [msgspec.json.encode([row[0]]) for row in rows],
            [msgspec.json.encode([row[1]]) for row in rows],
            [msgspec.json.encode({"id": row[0], "v": row[1]}) for row in rows],
            [flags.get("exists", False)] * len(rows),
            [flags.get("delete", False)] * len(rows),
        )

    def loaded(self, transactor: Any, *keys: Any, binding: int = 0) -> list[bytes]:
        transactor.stage(Keys(binding, [msgspec.json.encode([key]) for key in keys]))
        return sorted(document for found in transactor.loaded() for document in found.documents)


def _plain(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, dict | list) else value


@contextmanager
def emulated(service: BigQuery) -> Iterator[Dataset]:
    """Make the name of a dataset of a test; the connector creates it."""
    client = library.Client(
        project=PROJECT,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": service.url},
        location="US",
    )
    settings = {
        "project_id": PROJECT,
        "region": "US",
        "dataset": f"d{secrets.token_hex(5)}",
        "credentials": {"auth_type": "GCPAnonymous"},
        "advanced": {"api_endpoint": service.url, "storage_endpoint": service.storage},
    }
    try:
        yield Dataset(settings, client, service)
        name = f"{PROJECT}.{settings['dataset']}"
        client.delete_dataset(name, delete_contents=True, not_found_ok=True, retry=None)
    finally:
        client.close()


@contextmanager
def live(file: str) -> Iterator[Dataset]:
    """Make a dataset at the real service."""
    settings = msgspec.json.decode(Path(file).read_bytes())
    settings["dataset"] = f"flow_test_{secrets.token_hex(5)}_{os.getpid()}"
    client = client_of(Config.model_validate(settings))
    try:
        yield Dataset(settings, client, None)
    finally:
        name = f"{settings['project_id']}.{settings['dataset']}"
        client.delete_dataset(name, delete_contents=True, not_found_ok=True)
        client.close()
