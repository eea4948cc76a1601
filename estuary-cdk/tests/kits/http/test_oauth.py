"""Access tokens: fetched once for all, kept for three quarters of their life, never shown."""

import asyncio

import pytest
from pydantic import SecretStr

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.http import (
    OAuth2ClientCredentials,
    OAuth2RefreshToken,
    Refused,
    Retry,
    Unavailable,
)
from estuary_cdk.testing.fake_http import Asked, Reply

CLIENT_SECRET = "client:secret/1"


class Provider:
    """A token endpoint and an API that accepts only the newest token."""

    def __init__(self, expires_in: object = 100) -> None:
        self.forms: list[dict[str, str]] = []
        self.headers: list[str | None] = []
        self.expires_in = expires_in
        self.revoked: set[str] = set()
        self.rotate = False

    def token(self, asked: Asked) -> Reply:
        self.forms.append(asked.form)
        self.headers.append(asked.headers.get("Authorization"))
        number = len(self.forms)
        answer = {"access_token": f"access-{number}", "expires_in": self.expires_in}
        if self.rotate:
            answer["refresh_token"] = f"refresh-{number}"
        return Reply.json(answer)

    def api(self, asked: Asked) -> Reply:
        token = asked.headers.get("Authorization", "")
        return Reply(401) if token in self.revoked or not token else Reply.json({})


@pytest.fixture
async def provided(serve):
    provider = Provider()
    site = await serve({"POST /token": provider.token, "GET /u": provider.api})
    return provider, site


def application(site, **options) -> OAuth2ClientCredentials:
    url = f"{site.url}/token"
    return OAuth2ClientCredentials(url, "me", SecretStr(CLIENT_SECRET), **options)


def user(site, **options) -> OAuth2RefreshToken:
    secret, token = SecretStr(CLIENT_SECRET), SecretStr("refresh-0")
    return OAuth2RefreshToken(f"{site.url}/token", "me", secret, token, **options)


async def test_a_token_is_fetched_once_for_concurrent_requests(provided) -> None:
    provider, site = provided
    async with site.client(auth=application(site, scopes=("a", "b"))) as client:
        await asyncio.gather(*(client.get("u", dict) for _ in range(10)))
    assert provider.forms == [
        {
            "grant_type": "client_credentials",
            "scope": "a b",
            "client_id": "me",
            "client_secret": CLIENT_SECRET,
        }
    ]


async def test_the_client_may_name_itself_in_a_header(provided) -> None:
    provider, site = provided
    async with site.client(auth=application(site, placement="header")) as client:
        await client.get("u", dict)
    assert provider.forms == [{"grant_type": "client_credentials"}]
    assert provider.headers == ["Basic bWU6Y2xpZW50JTNBc2VjcmV0JTJGMQ=="]


@pytest.mark.parametrize("expires_in", [100, 100.0, "100"])
async def test_a_token_serves_three_quarters_of_its_life(provided, expires_in) -> None:
    provider, site = provided
    provider.expires_in = expires_in
    async with site.client(auth=application(site)) as client:
        await client.get("u", dict)
        site.clock.advance(74.9)
        await client.get("u", dict)
        assert len(provider.forms) == 1
        site.clock.advance(0.2)
        await client.get("u", dict)
    assert len(provider.forms) == 2


async def test_a_token_without_an_end_serves_until_refused(provided) -> None:
    provider, site = provided
    provider.expires_in = None
    async with site.client(auth=application(site)) as client:
        await client.get("u", dict)
        site.clock.advance(10**9)
        await client.get("u", dict)
        assert len(provider.forms) == 1
        provider.revoked.add("Bearer access-1")
        await asyncio.gather(*(client.get("u", dict) for _ in range(8)))
    assert len(provider.forms) == 2


async def test_a_second_refusal_in_a_row_is_final(provided) -> None:
    provider, site = provided
    site.fake.routes["GET /u"] = lambda _: Reply(401)
    async with site.client(auth=application(site)) as client:
        with pytest.raises(Refused, match="401 Unauthorized"):
            await client.get("u", dict)
    assert len(provider.forms) == 2
    assert len(site.fake.requests) == 4


async def test_a_rotated_refresh_token_is_reported_before_use_and_used_next(provided) -> None:
    provider, site = provided
    provider.rotate = True
    kept: list[tuple[str, int]] = []

    async def keep(token: SecretStr) -> None:
        api_calls = sum(asked.path == "/u" for asked in site.fake.requests)
        kept.append((token.get_secret_value(), api_calls))

    async with site.client(auth=user(site, rotated=keep)) as client:
        await client.get("u", dict)
        site.clock.advance(80)
        await client.get("u", dict)
    assert [form["refresh_token"] for form in provider.forms] == ["refresh-0", "refresh-1"]
    assert kept == [("refresh-1", 0), ("refresh-2", 1)]


async def test_a_refused_sign_in_is_one_clear_sentence_without_secrets(provided) -> None:
    _, site = provided

    def refuse(asked: Asked) -> Reply:
        return Reply.json({"error": "invalid_grant", "echo": asked.body.decode()}, status=400)

    site.fake.routes["POST /token"] = refuse
    async with site.client(auth=user(site)) as client:
        with pytest.raises(ConfigError, match=r"can't get an access token: .*invalid_grant") as e:
            await client.get("u", dict)
        shown = str(e.value) + repr(e.value.__cause__) + repr(client)
    for secret in (CLIENT_SECRET, "client%3Asecret%2F1", "refresh-0"):
        assert secret not in shown
    assert e.value.status == 400


async def test_a_token_endpoint_that_is_down_uses_one_retry_budget(provided) -> None:
    _, site = provided
    site.fake.routes["POST /token"] = lambda _: Reply(503)
    async with site.client(auth=application(site), retry=Retry(attempts=3)) as client:
        with pytest.raises(Unavailable, match="gave up after 3 attempts"):
            await client.get("u", dict)
    assert len(site.fake.requests) == 3


async def test_credentials_do_not_show() -> None:
    secret = SecretStr(CLIENT_SECRET)
    shown = repr(OAuth2ClientCredentials("http://x", "me", secret))
    shown += repr(OAuth2RefreshToken("http://x", "me", secret, SecretStr("refresh-0")))
    assert CLIENT_SECRET not in shown
    assert "refresh-0" not in shown


async def test_a_late_refusal_of_an_old_token_does_not_discard_the_new_one(provided) -> None:
    provider, site = provided
    async with site.client(auth=application(site)) as client:
        signer = client.exchanges.signer
        old = await signer.sign()
        assert signer.renew(old)
        new = await signer.sign()
        assert signer.renew(old)
        assert await signer.sign() is new
    assert len(provider.forms) == 2
