"""OAuth2 access tokens: fetched when needed, used until most of their life is over, one at a time.

A token serves for `LIFE_FRACTION` of its `expires_in`, or until a request is answered 401. However
many requests find it old, one fetches the next and the others wait for it. A 401 discards only the
token that was refused, so a burst of refusals leads to one fetch.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote_plus

import msgspec
from pydantic import SecretStr

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.http.answers import parsed
from estuary_cdk.kits.http.auth import Desk, SecretValue, Signature, Signer, TokenCall, basic

LIFE_FRACTION = 0.75

Rotated = Callable[[SecretStr], Awaitable[None]]
Placement = Literal["body", "header"]


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: float | str | None = None
    refresh_token: str | None = None


@dataclass(frozen=True, slots=True)
class OAuth2ClientCredentials:
    """The application itself signs in (RFC 6749 §4.4)."""

    token_url: str
    client_id: str
    client_secret: SecretValue
    scopes: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    placement: Placement = "body"

    def signer(self, desk: Desk) -> Signer:
        form = {"grant_type": "client_credentials", **_scope(self.scopes), **self.extra}
        identity = _identity(self.client_id, self.client_secret, self.placement)
        return TokenSigner(desk, self.token_url, form, identity)


@dataclass(frozen=True, slots=True)
class OAuth2RefreshToken:
    """The application acts for a user who once consented (RFC 6749 §6).

    A server may replace the refresh token whenever it is used. `rotated` is awaited with the new
    one before the access token that came with it is used, so that it can be stored first; what
    `rotated` raises ends the request.
    """

    token_url: str
    client_id: str
    client_secret: SecretValue
    refresh_token: SecretValue
    scopes: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    placement: Placement = "body"
    rotated: Rotated | None = None

    def signer(self, desk: Desk) -> Signer:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self.refresh_token.get_secret_value(),
            **_scope(self.scopes),
            **self.extra,
        }
        identity = _identity(self.client_id, self.client_secret, self.placement)
        return TokenSigner(desk, self.token_url, form, identity, self.rotated)


@dataclass(frozen=True, slots=True)
class _Identity:
    form: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)


class TokenSigner:
    """Signs with the current access token of one client."""

    def __init__(
        self,
        desk: Desk,
        url: str,
        form: Mapping[str, str],
        identity: _Identity,
        rotated: Rotated | None = None,
    ) -> None:
        self._desk = desk
        self._url = url
        self._form = dict(form)
        self._identity = identity
        self._rotated = rotated
        self._current: Signature | None = None
        self._old_at = float("inf")
        self._fetching = asyncio.Lock()

    async def sign(self) -> Signature:
        async with self._fetching:
            if self._current is None or self._desk.clock.monotonic() >= self._old_at:
                self._current = await self._fetched()
            return self._current

    def renew(self, refused: Signature) -> bool:
        if self._current is refused:
            self._current = None
        return True

    async def _fetched(self) -> Signature:
        asked_at = self._desk.clock.monotonic()
        refresh_token = self._form.get("refresh_token")
        secrets = (*self._identity.secrets, *filter(None, [refresh_token]))
        form = {**self._form, **self._identity.form}
        call = TokenCall(self._url, form, self._identity.headers, secrets)
        answer = parsed(await self._desk.post(call), _Answer, "the token endpoint")
        if answer.refresh_token and refresh_token and answer.refresh_token != refresh_token:
            self._form["refresh_token"] = answer.refresh_token
            if self._rotated is not None:
                await self._rotated(SecretStr(answer.refresh_token))
        self._old_at = asked_at + _life(answer.expires_in) * LIFE_FRACTION
        token = answer.access_token
        hidden = tuple(filter(None, [token, answer.refresh_token]))
        return Signature({"Authorization": f"Bearer {token}"}, secrets=hidden)


def _scope(scopes: tuple[str, ...]) -> dict[str, str]:
    return {"scope": " ".join(scopes)} if scopes else {}


def _identity(client_id: str, client_secret: SecretValue, placement: Placement) -> _Identity:
    secret = client_secret.get_secret_value()
    if placement == "body":
        return _Identity({"client_id": client_id, "client_secret": secret}, {}, (secret,))
    header = basic(quote_plus(client_id), quote_plus(secret))
    secrets = (secret, header.removeprefix("Basic "))
    return _Identity({}, {"Authorization": header}, secrets)


def _life(expires_in: float | str | None) -> float:
    """Some servers write the number as a string; without one, a token serves until refused."""
    if expires_in is None:
        return float("inf")
    try:
        return float(expires_in)
    except ValueError as error:
        raise ConfigError(
            f"can't use the token endpoint: expires_in is {expires_in!r}, not a number"
        ) from error
