"""What a user configures: a database for the task, a table for each binding."""

from typing import Any

from pydantic import field_validator, model_validator

from estuary_cdk.config import EndpointConfig, ResourceConfig, setting
from estuary_cdk.kits.postgres import (
    Address,
    Credentials,
    Server,
    TlsSettings,
    Way,
    credentials_setting,
    with_credentials,
)
from estuary_cdk.kits.sql import settings
from estuary_cdk.kits.sql.statements import CHECKPOINTS
from estuary_cdk.kits.tunnel import NetworkTunnel, network_tunnel_setting
from estuary_cdk.materialize import SyncSchedule
from estuary_cdk.protocol.flow import SerPolicy


class Advanced(TlsSettings):
    """Settings that few need."""

    no_flow_document: bool = settings.no_flow_document()
    truncate_fields: bool = settings.truncate_fields()
    enum_types: bool = setting(
        default=True,
        alias="enumTypes",
        title="Enum Types",
        description="Give new columns of strings that are always one of a few values (enum in the "
        "schema) a PostgreSQL enum type, which gets the values that the schema gains. Otherwise "
        "they are text.",
    )


class Config(EndpointConfig):
    """The database, and what becomes of deleted documents."""

    address: Address = setting(
        title="Address", description="Host and port of the database, such as db.example.com:5432."
    )
    database: str = setting(title="Database", description="Name of the database to write to.")
    user: str = setting(title="User", description="The database user to authenticate as.")
    credentials: Credentials = credentials_setting()
    namespace: str = setting(
        "public",
        alias="schema",
        title="Database Schema",
        description="Schema of the tables whose bindings name none, and of the connector's own "
        "table of checkpoints. Created when missing.",
    )
    hard_delete: bool = setting(
        default=False,
        alias="hardDelete",
        title="Hard Delete",
        description="Delete the row of a deleted document. By default the row stays and says so "
        'in its column "_meta/op".',
    )
    schedule: SyncSchedule | None = settings.sync_schedule()
    network_tunnel: NetworkTunnel | None = network_tunnel_setting()
    advanced: Advanced = setting(
        default_factory=Advanced,
        title="Advanced Options",
        description="Settings that few need.",
        advanced=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, value: Any) -> Any:
        return with_credentials(value)

    @field_validator("database", "user")
    @classmethod
    def _is_given(cls, text: str) -> str:
        if not text.strip() or "\x00" in text:
            raise ValueError("it must have a character that shows, and no zero character")
        return text

    @field_validator("namespace")
    @classmethod
    def _schema_is_named(cls, text: str) -> str:
        return _name(text) or "public"

    def server(self, way: Way | None = None) -> Server:
        """Return the server, as connections to it need it."""
        return Server(self.address, self.database, self.user, self.credentials, self.advanced, way)

    @property
    def truncation(self) -> SerPolicy | None:
        """What the runtime is to shorten."""
        return settings.TRUNCATION if self.advanced.truncate_fields else None


class Resource(ResourceConfig):
    """The table of a binding and how it is updated."""

    table: str = setting(
        title="Table",
        description="Name of the table, created when missing.",
        collection_name=True,
    )
    namespace: str = setting(
        "",
        alias="schema",
        title="Alternative Schema",
        description="Schema of the table, where it isn't that of the endpoint. Created when "
        "missing.",
        schema_name=True,
    )
    delta_updates: bool = setting(
        default=False,
        title="Delta Updates",
        description="Append every update as a row of its own, never reading what is there.",
        delta_updates=True,
    )
    additional_table_create_sql: str = setting(
        "",
        title="Additional Table Create SQL",
        description="SQL to run right after the table is created, in the same transaction: "
        "indexes, grants.",
        multiline=True,
    )
    adopt_existing: bool = settings.adopt_existing()

    @field_validator("table")
    @classmethod
    def _is_free(cls, table: str) -> str:
        if not _name(table):
            raise ValueError("it must have a character that shows")
        if table == CHECKPOINTS:
            raise ValueError(f"{CHECKPOINTS} is where this connector keeps its checkpoints")
        return table

    @field_validator("namespace")
    @classmethod
    def _schema_is_named(cls, text: str) -> str:
        return _name(text)


def _name(text: str) -> str:
    if "\x00" in text:
        raise ValueError("it must have no zero character")
    if text.startswith("pg_"):
        raise ValueError("PostgreSQL keeps names that begin with pg_ to itself")
    return text if text.strip() else ""
