"""What users configure: the bucket, who asks, which files, and how they are read."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import field_validator, model_validator

from estuary_cdk.config import EndpointConfig, Secret, Settings, setting
from estuary_cdk.kits.files import ParserOptions, Selection
from estuary_cdk.kits.files.choices import (
    Choice,
    Following,
    Pattern,
    advanced_setting,
    match_setting,
    parser_setting,
    prefix_setting,
    prefixes_setting,
    streams_of,
)

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


class Notifications(Settings):
    """A queue that the bucket's events are sent to."""

    queue_url: str = setting(
        alias="queueUrl",
        title="Queue URL",
        pattern="^https?://[^/]+/.+",
        description="Address of the SQS queue, such as "
        "https://sqs.eu-central-1.amazonaws.com/123456789012/files.",
    )

    @property
    def endpoint(self) -> str:
        """The address of the queue's service."""
        return "/".join(self.queue_url.split("/")[:3])

    @property
    def region(self) -> str | None:
        """The queue's region, where its address has one."""
        found = re.search(r"sqs[.-]([a-z]{2}(?:-[a-z]+)+-\d)\.", self.endpoint)
        return found[1] if found else None


class Advanced(Following):
    """Rarely needed settings."""

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
    notifications: Notifications | None = setting(
        None,
        title="Notifications",
        description="Where the bucket tells of new files, so that they are captured in seconds.",
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

    @model_validator(mode="after")
    def _no_notices_in_order(self) -> "Advanced":
        if self.notifications and self.ascending_keys:
            raise ValueError("notifications come in no order, which ascendingKeys needs; set one")
        return self

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
    prefix: str = prefix_setting()
    prefixes: tuple[str, ...] = prefixes_setting()
    match_keys: Pattern | None = match_setting("matchKeys")
    credentials: Credentials = setting(
        default_factory=Environment,
        discriminator="auth_type",
        title="Credentials",
        description="Who asks for the files.",
    )
    parser: ParserOptions = parser_setting()
    advanced: Advanced = advanced_setting(Advanced)

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


def streams(config: Config) -> Sequence[str]:
    """Return the names of the streams to discover: the bucket, then a prefix."""
    return streams_of(config.bucket, config.prefix, config.prefixes)


def selection(config: Config, stream: str) -> Selection:
    """Return which files a stream has; ConfigError for one of another bucket."""
    choice = Choice(config.match_keys, config.parser, config.advanced)
    return choice.within(stream, config.bucket, "bucket")
