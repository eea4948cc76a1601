"""What a user configures: a dataset for the task, a table for each binding."""

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import ConfigDict, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from estuary_cdk.config import EndpointConfig, ResourceConfig, Secret, Settings, setting
from estuary_cdk.kits.sql import settings
from estuary_cdk.materialize import Path, SyncSchedule
from estuary_cdk.protocol.flow import SerPolicy
from materialize_bigquery.names import APPLIED, table_name

CLUSTERING_MAX: Final = 4
_DATASET: Final = r"^[A-Za-z0-9_]{1,1024}$"


class ServiceAccount(Settings):
    """A service account's key."""

    model_config = ConfigDict(title="Service Account JSON")

    auth_type: Literal["CredentialsJSON"] = setting(
        "CredentialsJSON", title="Auth Type", description="How to authenticate."
    )
    credentials_json: Secret = setting(
        title="Service Account JSON",
        description="The whole key file of the service account, in JSON.",
        multiline=True,
        order=1,
    )

    @field_validator("credentials_json")
    @classmethod
    def _is_key(cls, key: Secret) -> Secret:
        try:
            info = msgspec.json.decode(key.get_secret_value())
        except (msgspec.DecodeError, UnicodeEncodeError):
            raise ValueError("it isn't JSON; paste the whole key file") from None
        kind = info.get("type") if isinstance(info, dict) else None
        if kind != "service_account":
            raise ValueError("it is no key file of a service account; paste the whole key file")
        return key


class GcpIam(Settings):
    """A service account that a workload identity may impersonate."""

    model_config = ConfigDict(title="Google Cloud IAM")

    auth_type: Literal["GCPIAM"] = setting(
        "GCPIAM", title="Auth Type", description="How to authenticate."
    )
    gcp_service_account_to_impersonate: str = setting(
        title="Service Account",
        description="E-mail address of the service account to act as.",
    )
    gcp_workload_identity_pool_audience: str = setting(
        title="Workload Identity Pool Audience",
        description="Such as //iam.googleapis.com/projects/123/locations/global/"
        "workloadIdentityPools/test-pool/providers/test-provider.",
    )
    gcp_access_token: Annotated[Secret | None, SkipJsonSchema()] = setting(
        None, title="Token", description="Set by the platform."
    )


class Environment(Settings):
    """The application default credentials of the environment."""

    model_config = ConfigDict(title="Application Default")

    auth_type: Literal["GCPEnvironment"] = setting(
        "GCPEnvironment", title="Auth Type", description="How to authenticate."
    )


class Anonymous(Settings):
    """No credentials: the endpoint is an emulator."""

    model_config = ConfigDict(title="None")

    auth_type: Literal["GCPAnonymous"] = setting(
        "GCPAnonymous", title="Auth Type", description="How to authenticate."
    )


class Direct(Settings):
    """Files go from the connector to BigQuery."""

    model_config = ConfigDict(title="None")

    kind: Literal["None"] = setting(
        "None", alias="type", title="Type", description="Where files wait to be loaded."
    )


class Bucket(Settings):
    """Files wait in a bucket of Google Cloud Storage, and are loaded from there."""

    model_config = ConfigDict(title="Google Cloud Storage")

    kind: Literal["GCS"] = setting(
        "GCS", alias="type", title="Type", description="Where files wait to be loaded."
    )
    bucket: str = setting(
        title="Bucket",
        description="Name of the bucket, in the region of the dataset.",
        pattern=r"^[a-z0-9][a-z0-9._-]+$",
        order=1,
    )
    bucket_path: str = setting(
        "", title="Bucket Path", description="Folder in the bucket for the files.", order=2
    )


class Unparted(Settings):
    """The table has no partitions."""

    model_config = ConfigDict(title="None")

    kind: Literal["None"] = setting(
        "None", alias="type", title="Type", description="How rows are parted."
    )


class TimePartitioning(Settings):
    """A partition for each hour, day, month or year of a column."""

    model_config = ConfigDict(title="By Time")

    kind: Literal["Time"] = setting(
        "Time", alias="type", title="Type", description="How rows are parted."
    )
    column: str = setting(title="Column", description="The field of a date or a moment.", order=1)
    granularity: Literal["HOUR", "DAY", "MONTH", "YEAR"] = setting(
        "DAY",
        title="Granularity",
        description="How long a partition is. Dates have no hours.",
        order=2,
    )


class RangePartitioning(Settings):
    """A partition for each range of so many integers."""

    model_config = ConfigDict(title="By Integer Range")

    kind: Literal["Range"] = setting(
        "Range", alias="type", title="Type", description="How rows are parted."
    )
    column: str = setting(title="Column", description="The field of an integer.", order=1)
    start: int = setting(title="Start", description="Where the first range begins.", order=2)
    end: int = setting(title="End", description="Where the last range ends.", order=3)
    interval: int = setting(title="Interval", description="How wide a range is.", ge=1, order=4)

    @model_validator(mode="after")
    def _has_parts(self) -> "RangePartitioning":
        parts = (self.end - self.start) // self.interval
        if not 0 < parts <= 10_000:
            raise ValueError(f"that makes {parts} partitions: a table has 1 to 10000")
        return self


Partitioning = Unparted | TimePartitioning | RangePartitioning


class Advanced(Settings):
    """Settings that few need."""

    no_flow_document: bool = settings.no_flow_document()
    truncate_fields: bool = settings.truncate_fields()
    api_endpoint: str | None = setting(
        None,
        title="API Endpoint",
        description="Address of the BigQuery API where it isn't Google's public one: an emulator "
        "or a private endpoint.",
        pattern=r"^https?://[^\s]+$",
    )
    storage_endpoint: str | None = setting(
        None,
        title="Storage API Endpoint",
        description="Host and port of the BigQuery Storage API beside that endpoint. Without it, "
        "an endpoint of your own is read through the API alone.",
    )
    gcs_endpoint: str | None = setting(
        None,
        title="Cloud Storage Endpoint",
        description="Address of the Google Cloud Storage API where it isn't Google's public one.",
        pattern=r"^https?://[^\s]+$",
    )


class Config(EndpointConfig):
    """The dataset, and what becomes of deleted documents."""

    project_id: str = setting(
        title="Project ID",
        description="The Google Cloud project that has the dataset.",
        pattern=r"^[a-z0-9.:-]+$",
    )
    region: str = setting(
        title="Region", description="Where the dataset is, such as US, EU or europe-west3."
    )
    dataset: str = setting(
        title="Dataset",
        description="Dataset of the tables whose bindings name none, and of what is staged. "
        "Created when missing.",
        pattern=_DATASET,
    )
    credentials: ServiceAccount | GcpIam | Environment | Anonymous = setting(
        title="Authentication",
        description="How to authenticate.",
        discriminator="auth_type",
        annotations={"x-iam-auth": True},
    )
    billing_project_id: str = setting(
        "",
        title="Billing Project ID",
        description="The project that jobs run in and are charged to, where it isn't the "
        "dataset's.",
    )
    hard_delete: bool = setting(
        default=False,
        alias="hardDelete",
        title="Hard Delete",
        description="Delete the row of a deleted document. By default the row stays and says so "
        'in its column "_meta_op".',
    )
    staging: Direct | Bucket = setting(
        default_factory=Direct,
        discriminator="kind",
        title="Staging",
        description="Where files wait to be loaded: none is needed.",
    )
    schedule: SyncSchedule | None = settings.sync_schedule()
    advanced: Advanced = setting(
        default_factory=Advanced,
        title="Advanced Options",
        description="Settings that few need.",
        advanced=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, value: Any) -> Any:
        return _older_spec(value) if isinstance(value, dict) else value

    @property
    def jobs_project(self) -> str:
        """The project that jobs run in."""
        return self.billing_project_id or self.project_id

    @property
    def truncation(self) -> SerPolicy | None:
        """What the runtime is to shorten."""
        return settings.TRUNCATION if self.advanced.truncate_fields else None


def _older_spec(config: dict[str, Any]) -> dict[str, Any]:
    """Bring an older spec to today's shape: a key and a bucket at the top, other truncation."""
    config = dict(config)
    key = config.pop("credentials_json", None)
    if key and not config.get("credentials"):
        config["credentials"] = {"auth_type": "CredentialsJSON", "credentials_json": key}
    bucket, folder = config.pop("bucket", ""), config.pop("bucket_path", "")
    if bucket and "staging" not in config:
        config["staging"] = {"type": "GCS", "bucket": bucket, "bucket_path": folder}
    advanced = config.get("advanced")
    if isinstance(advanced, dict) and "disableFieldTruncation" in advanced:
        advanced = dict(advanced)
        advanced.setdefault("truncateFields", not advanced.pop("disableFieldTruncation"))
        config["advanced"] = advanced
    return config


class Resource(ResourceConfig):
    """The table of a binding and how it is updated."""

    table: str = setting(
        title="Table",
        description="Name of the table, created when missing.",
        collection_name=True,
    )
    dataset: str = setting(
        "",
        title="Alternative Dataset",
        description="Dataset of the table, where it isn't that of the endpoint. Created when "
        "missing.",
        pattern=r"^[A-Za-z0-9_]{0,1024}$",
        schema_name=True,
    )
    delta_updates: bool = setting(
        default=False,
        title="Delta Updates",
        description="Append every update as a row of its own, never reading what is there.",
        delta_updates=True,
    )
    partitioning: Partitioning = setting(
        default_factory=Unparted,
        discriminator="kind",
        title="Partitioning",
        description="How the table is parted when it is created, such as by day.",
    )
    clustering: list[str] = setting(
        default_factory=list,
        title="Clustering",
        description="The fields by which the table is sorted when it is created, at most four. "
        "Those of the key when left out.",
    )
    adopt_existing: bool = settings.adopt_existing()

    @field_validator("table")
    @classmethod
    def _is_free(cls, table: str) -> str:
        if not re.search(r"\w", table):
            raise ValueError("it must have a letter or a digit")
        if table_name(table) == APPLIED:
            raise ValueError(f"{APPLIED} is where this connector keeps what it has applied")
        return table

    @field_validator("clustering")
    @classmethod
    def _are_few(cls, columns: list[str]) -> list[str]:
        if len(columns) > CLUSTERING_MAX:
            raise ValueError(f"a table is clustered by at most {CLUSTERING_MAX} columns")
        return columns


def path(config: Config, resource: Resource) -> Path:
    """Return where a binding's table is: its project, its dataset and its name."""
    return (config.project_id, resource.dataset or config.dataset, table_name(resource.table))
