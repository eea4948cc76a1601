"""How requests prove who sends them: values, and what the client asks of them.

A credential is a value without behaviour in time; `signer` turns it into something that signs the
requests of one client. Secrets are `SecretStr`-like: anything with `get_secret_value()`, so they
show in no repr. The OAuth2 flows, which must fetch what they sign with, are in `oauth`.
"""

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from estuary_cdk.clock import Clock


class SecretValue(Protocol):
    """A string that hides itself; `estuary_cdk.config.Secret` is one, `pydantic.SecretStr` too."""

    def get_secret_value(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Signature:
    """What a signer adds to a request; `secrets` must not be shown to anyone."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class TokenCall:
    """A form to post to a token endpoint, perhaps more than once: a restart would repeat it too."""

    url: str
    form: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a signer may use of its client: the time, and a way to fetch tokens."""

    clock: Clock
    post: Callable[[TokenCall], Awaitable[bytes]]


class Signer(Protocol):
    """Signs the requests of one client; called by concurrent requests."""

    async def sign(self) -> Signature: ...

    def renew(self, refused: Signature) -> bool:
        """A request signed so was answered 401; say whether signing again may help."""
        ...


class Auth(Protocol):
    """A credential: a value that knows how to sign."""

    def signer(self, desk: Desk) -> Signer: ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Signs every request alike; a refused signature stays refused."""

    signature: Signature

    async def sign(self) -> Signature:
        return self.signature

    def renew(self, refused: Signature) -> bool:
        del refused
        return False


@dataclass(frozen=True, slots=True)
class NoAuth:
    """Requests say nothing about who sends them."""

    def signer(self, desk: Desk) -> Signer:
        del desk
        return Fixed(Signature())


NO_AUTH = NoAuth()
"""Requests go out as they are."""


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """User name and password in `Authorization: Basic`, UTF-8 (RFC 7617)."""

    username: str | SecretValue
    password: SecretValue

    def signer(self, desk: Desk) -> Signer:
        del desk
        username = revealed(self.username)
        password = self.password.get_secret_value()
        header = basic(username, password)
        hidden = () if isinstance(self.username, str) else (username,)
        secrets = (password, header.removeprefix("Basic "), *hidden)
        return Fixed(Signature(headers={"Authorization": header}, secrets=secrets))


@dataclass(frozen=True, slots=True)
class BearerToken:
    """A token that was handed out by hand, in `Authorization: <kind> <token>`."""

    token: SecretValue
    kind: str = "Bearer"

    def signer(self, desk: Desk) -> Signer:
        del desk
        token = self.token.get_secret_value()
        return Fixed(Signature({"Authorization": f"{self.kind} {token}"}, secrets=(token,)))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in a header, or in a query parameter where the API knows no better."""

    key: SecretValue
    name: str = "X-API-Key"
    place: Literal["header", "query"] = "header"

    def signer(self, desk: Desk) -> Signer:
        del desk
        key = self.key.get_secret_value()
        carrier = {self.name: key}
        if self.place == "header":
            return Fixed(Signature(headers=carrier, secrets=(key,)))
        return Fixed(Signature(parameters=carrier, secrets=(key,)))


def basic(username: str, password: str) -> str:
    """Return the value of an `Authorization` header for user name and password."""
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


def revealed(value: str | SecretValue) -> str:
    """Return the plain text of what may be secret."""
    return value if isinstance(value, str) else value.get_secret_value()
