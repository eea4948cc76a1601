"""What users configure: the bucket, who asks, which files, and how they are read."""

import base64
import binascii
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import field_validator, model_validator

from estuary_cdk.config import EndpointConfig, Secret, Settings, setting
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files import ParserOptions, Selection

SSE_KEY_BYTES = 32


class AccessKey(Settings):
    """An access key."""

    auth_type: Literal["AWSAccessKey"] = setting("AWSAccessKey", title="Type")
    access_key_id: str = setting(
        alias="aws_access_key_id", title="Access Key ID", description="ID of the access key."
    )
    secret_access_key: Secret = setting(
        alias="aws_secret_access_key",
        title="Secret Access Key",
        description="The secret of the access key.",
    )


class Role(Settings):
    """A role to assume, with the credentials of the environment."""

    auth_type: Literal["AWSIAM"] = setting("AWSIAM", title="Type")
    role_arn: str = setting(
        alias="aws_role_arn", title="Role ARN", description="The role to assume."
    )
    region: str = setting(
        "us-east-1",
        alias="aws_region",
        title="Region",
        description="Region of the service that gives the role's credentials.",
    )
    external_id: str | None = setting(
        None,
        alias="aws_external_id",
        title="External ID",
        description="What the role's trust policy asks for, if it does.",
    )


class Anonymous(Settings):
    """No credentials: the bucket is public."""

    auth_type: Literal["AWSAnonymous"] = setting("AWSAnonymous", title="Type")


class Environment(Settings):
    """What the environment has: variables, a profile, or the machine's role."""

    auth_type: Literal["AWSEnvironment"] = setting("AWSEnvironment", title="Type")


Credentials = AccessKey | Role | Anonymous | Environment


class Advanced(Settings):
    """Rarely needed settings."""

    ascending_keys: bool = setting(
        False,
        alias="ascendingKeys",
        title="Ascending Keys",
        description="Files are only ever added, each with a key greater than all before: listing "
        "begins behind the last one read. Changes of older files aren't seen.",
    )
    endpoint: str | None = setting(
        None,
        title="Endpoint",
        description="Address of a service that is compatible with S3, such as "
        "https://storage.example.com. Amazon's own when left out.",
    )
    path_style: bool = setting(
        False,
        alias="pathStyle",
        title="Path Style",
        description="Put the bucket into the path instead of the host name. Always so with an "
        "endpoint of your own.",
    )
    requester_pays: bool = setting(
        False,
        alias="requesterPays",
        title="Requester Pays",
        description="Agree to be charged for requests and transfer.",
    )
    sse_customer_key: Secret | None = setting(
        None,
        alias="sseCustomerKey",
        title="SSE-C Key",
        description="The key of 32 bytes, in base64, that files are encrypted with (SSE-C).",
    )
    minimum_modified: datetime | None = setting(
        None,
        alias="minimumModified",
        title="Minimum Modified Time",
        description="Files last modified before this time are left out, like 2026-01-31T00:00:00Z.",
    )
    on_delete: Literal["keep", "delete"] = setting(
        "keep",
        alias="onDelete",
        title="Deleted Files",
        description="Whether the documents of a file that was deleted are kept or deleted.",
    )
    on_error: Literal["stop", "skip"] = setting(
        "stop",
        alias="onError",
        title="Unreadable Files",
        description="Whether a file that can't be read stops the capture or is left out until it "
        "changes, which the status tells.",
    )

    @field_validator("minimum_modified")
    @classmethod
    def _has_offset(cls, moment: datetime | None) -> datetime | None:
        if moment is not None and moment.tzinfo is None:
            raise ValueError("the time has no offset from UTC; write it like 2026-01-31T00:00:00Z")
        return moment

    @field_validator("sse_customer_key")
    @classmethod
    def _is_key(cls, key: Secret | None) -> Secret | None:
        if key is not None and len(_decoded(key.get_secret_value())) != SSE_KEY_BYTES:
            raise ValueError(f"the key must be {SSE_KEY_BYTES} bytes in base64")
        return key


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""


class Config(EndpointConfig):
    """A bucket and what is captured of it."""

    region: str = setting(
        "us-east-1", title="Region", description="Region of the bucket, such as eu-central-1."
    )
    bucket: str = setting(title="Bucket", description="Name of the bucket.", pattern="^[^/]+$")
    prefix: str = setting(
        "",
        title="Prefix",
        description="Only files whose keys begin with this are captured, such as exports/. All of "
        "them when left out.",
    )
    prefixes: tuple[str, ...] = setting(
        default_factory=tuple,
        title="Prefixes",
        description="Several prefixes, each a stream of its own, instead of one.",
    )
    match_keys: str | None = setting(
        None,
        alias="matchKeys",
        title="Match Keys",
        format="regex",
        description="Only files whose whole key contains a match of this regular expression are "
        "captured, such as \\.csv$.",
    )
    credentials: Credentials = setting(
        default_factory=Environment,
        discriminator="auth_type",
        title="Credentials",
        description="Who asks for the files.",
    )
    parser: ParserOptions = setting(
        default_factory=ParserOptions,
        title="Parser",
        description="How the files are read. Detected when left out.",
    )
    advanced: Advanced = setting(
        default_factory=Advanced,
        title="Advanced",
        description="Rarely needed settings.",
        advanced=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _older_spec(cls, config: Any) -> Any:
        """Accept the keys at the top of older specs, and an empty pattern."""
        if not isinstance(config, dict):
            return config
        config = {key: value for key, value in config.items() if key != "matchKeys" or value}
        key_id = config.pop("awsAccessKeyId", None)
        secret = config.pop("awsSecretAccessKey", None)
        if "credentials" not in config and (key_id or secret):
            config["credentials"] = {
                "auth_type": "AWSAccessKey",
                "aws_access_key_id": key_id or "",
                "aws_secret_access_key": secret or "",
            }
        return config

    @field_validator("match_keys")
    @classmethod
    def _is_pattern(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} isn't a regular expression: {error}") from None
        return pattern


def streams(config: Config) -> Sequence[str]:
    """Return the names of the streams to discover: the bucket, then a prefix."""
    prefixes = config.prefixes or (config.prefix,)
    return [f"{config.bucket}/{prefix.lstrip('/')}" for prefix in prefixes]


def selection(config: Config, stream: str) -> Selection:
    """Return which files a stream has; ConfigError for one of another bucket."""
    bucket, _, prefix = stream.lstrip("/").partition("/")
    if bucket != config.bucket:
        raise ConfigError(
            f"can't capture stream {stream!r}: the config has bucket {config.bucket!r}",
            hint=f"a stream begins with {config.bucket + '/'!r}",
        )
    return Selection(
        prefix=prefix,
        root=f"{bucket}/",
        match=re.compile(config.match_keys) if config.match_keys else None,
        since=config.advanced.minimum_modified,
        parser=config.parser,
        on_delete=config.advanced.on_delete,
        on_error=config.advanced.on_error,
    )
