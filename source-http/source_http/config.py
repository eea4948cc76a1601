"""What users configure: the streams, how to reach them and how to read them."""

from collections import Counter
from typing import Literal

from pydantic import field_validator

from estuary_cdk.config import EndpointConfig, ResourceConfig, Secret, Settings, setting
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files import ParserOptions
from estuary_cdk.kits.files.intervals import PATTERN
from estuary_cdk.kits.http import (
    NO_AUTH,
    ApiKey,
    Auth,
    BasicAuth,
    BearerToken,
    OAuth2ClientCredentials,
)


class NoCredentials(Settings):
    """The address is open to everyone."""

    auth_type: Literal["none"] = setting("none", title="Type")

    def auth(self) -> Auth:
        return NO_AUTH


class Basic(Settings):
    """User name and password."""

    auth_type: Literal["basic"] = setting("basic", title="Type")
    user: str = setting(title="User", description="The user name.")
    password: Secret = setting(title="Password", description="The password.")

    def auth(self) -> Auth:
        return BasicAuth(self.user, self.password)


class Bearer(Settings):
    """A token in the Authorization header."""

    auth_type: Literal["bearer"] = setting("bearer", title="Type")
    token: Secret = setting(title="Token", description="The token, without the word Bearer.")

    def auth(self) -> Auth:
        return BearerToken(self.token)


class Key(Settings):
    """A key in a header or in the query."""

    auth_type: Literal["api_key"] = setting("api_key", title="Type")
    value: Secret = setting(title="Value", description="The key.")
    name: str = setting(
        "X-API-Key", title="Name", description="Name of the header or query parameter."
    )
    place: Literal["header", "query"] = setting(
        "header", title="Place", description="Where the server looks for the key."
    )

    def auth(self) -> Auth:
        return ApiKey(self.value, self.name, self.place)


class ClientCredentials(Settings):
    """OAuth 2.0 client credentials."""

    auth_type: Literal["client_credentials"] = setting("client_credentials", title="Type")
    token_url: str = setting(title="Token URL", description="Where tokens are fetched from.")
    client_id: str = setting(title="Client ID", description="The application's public name.")
    client_secret: Secret = setting(
        title="Client Secret", description="The application's password."
    )
    scopes: tuple[str, ...] = setting(
        default_factory=tuple, title="Scopes", description="The scopes to ask for."
    )

    def auth(self) -> Auth:
        return OAuth2ClientCredentials(
            self.token_url, self.client_id, self.client_secret, self.scopes
        )


Credentials = NoCredentials | Basic | Bearer | Key | ClientCredentials


class Header(Settings):
    """One header of the request."""

    key: str = setting(title="Key", description="Name of the header.")
    value: Secret = setting(title="Value", description="Value of the header.")


class Headers(Settings):
    """Headers of the request."""

    items: tuple[Header, ...] = setting(
        default_factory=tuple, title="Items", description="The headers, each with key and value."
    )


class Stream(Settings):
    """One address and how to read what is there."""

    name: str = setting(title="Name", description="What the stream is called.", pattern="^[^/]+$")
    url: str = setting(
        title="URL", description="Address of the file, beginning with https:// or http://."
    )
    key: tuple[str, ...] = setting(
        default_factory=tuple,
        title="Key",
        description="JSON pointers, such as /id, to what identifies a document: the key that is "
        "discovered for its collection. When left out, that is its file and its place in it.",
    )
    parser: ParserOptions = setting(
        default_factory=ParserOptions,
        title="Parser",
        description="How the file is read. Detected when left out.",
    )
    credentials: Credentials = setting(
        default_factory=NoCredentials,
        discriminator="auth_type",
        title="Credentials",
        description="How requests prove who sends them.",
    )
    headers: Headers = setting(
        default_factory=Headers,
        title="Headers",
        description="Headers to send with every request for this stream.",
    )

    @field_validator("key")
    @classmethod
    def _pointers(cls, key: tuple[str, ...]) -> tuple[str, ...]:
        for pointer in key:
            if not pointer.startswith("/"):
                raise ValueError(f"{pointer!r} isn't a JSON pointer; write it like /id")
        return key


class Config(EndpointConfig):
    """The streams of one capture."""

    streams: tuple[Stream, ...] = setting(
        title="Streams", description="The files to capture, each from its own address."
    )

    @field_validator("streams")
    @classmethod
    def _named_once(cls, streams: tuple[Stream, ...]) -> tuple[Stream, ...]:
        for name, count in Counter(stream.name for stream in streams).items():
            if count > 1:
                raise ValueError(f"{count} streams are called {name!r}; give each its own name")
        return streams

    def stream(self, name: str) -> Stream:
        """Return the stream called `name`; ConfigError if there is none."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        names = ", ".join(repr(stream.name) for stream in self.streams)
        raise ConfigError(
            f"can't capture stream {name!r}: the config has no such stream",
            hint=f"it has {names or 'none'}",
        )


class Resource(ResourceConfig):
    """Which stream is captured, and how often."""

    stream: str = setting(title="Stream", description="Name of a stream of the endpoint config.")
    interval: str | None = setting(
        None,
        title="Interval",
        pattern=PATTERN,
        description="How often at most the address is asked, like 5m, 1h30m or PT24H. Every time "
        "the capture runs when left out.",
    )
