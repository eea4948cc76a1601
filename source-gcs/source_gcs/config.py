"""What users configure: the bucket, who asks, which files, and how they are read."""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
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


class ServiceAccount(Settings):
    """A service account's key."""

    auth_type: Literal["CredentialsJSON"] = setting("CredentialsJSON", title="Type")
    credentials_json: Secret = setting(
        title="Service Account JSON",
        description="The whole key file of the service account, in JSON.",
        multiline=True,
    )

    @field_validator("credentials_json")
    @classmethod
    def _is_key(cls, key: Secret) -> Secret:
        try:
            info = msgspec.json.decode(key.get_secret_value())
        except msgspec.DecodeError:
            raise ValueError("it isn't JSON; paste the whole key file") from None
        kind = info.get("type") if isinstance(info, dict) else None
        if kind != "service_account":
            raise ValueError(
                f"it is the key of {kind!r}; paste the key file of a service account"
                if kind
                else "it is no key file of a service account"
            )
        return key


class Environment(Settings):
    """The application default credentials of the environment."""

    auth_type: Literal["GCPEnvironment"] = setting("GCPEnvironment", title="Type")


class Anonymous(Settings):
    """No credentials: the bucket is public."""

    auth_type: Literal["GCPAnonymous"] = setting("GCPAnonymous", title="Type")


class Advanced(Following):
    """Rarely needed settings."""

    endpoint: str | None = setting(
        None,
        title="Endpoint",
        description="Address of another service with the same interface. Google's own when left "
        "out.",
    )
    user_project: str | None = setting(
        None,
        alias="userProject",
        title="User Project",
        description="The project to charge, where the bucket has its requesters pay.",
    )


class Config(EndpointConfig):
    """A bucket and what is captured of it."""

    bucket: str = setting(title="Bucket", description="Name of the bucket.", pattern="^[^/]+$")
    prefix: str = prefix_setting()
    prefixes: tuple[str, ...] = prefixes_setting()
    match_keys: Pattern | None = match_setting("matchKeys")
    credentials: ServiceAccount | Environment | Anonymous = setting(
        default_factory=Anonymous,
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
        key = config.pop("googleCredentials", None)
        if key and "credentials" not in config:
            config["credentials"] = {"auth_type": "CredentialsJSON", "credentials_json": key}
        if config.pop("ascendingKeys", False):
            config["advanced"] = {"ascendingKeys": True, **(config.get("advanced") or {})}
        return config


def streams(config: Config) -> Sequence[str]:
    """Return the names of the streams to discover: the bucket, then a prefix."""
    return streams_of(config.bucket, config.prefix, config.prefixes)


def selection(config: Config, stream: str) -> Selection:
    """Return which files a stream has; ConfigError for one of another bucket."""
    choice = Choice(config.match_keys, config.parser, config.advanced)
    return choice.within(stream, config.bucket, "bucket")
