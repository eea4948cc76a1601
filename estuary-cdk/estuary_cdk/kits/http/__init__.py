"""HTTP for connectors: a client with credentials, paging, pacing and retries as values."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from estuary_cdk.kits.http.auth import NO_AUTH, ApiKey, Auth, BasicAuth, BearerToken
    from estuary_cdk.kits.http.client import Client, Streamed
    from estuary_cdk.kits.http.conditions import Validators, validators
    from estuary_cdk.kits.http.downloads import Download, download
    from estuary_cdk.kits.http.errors import (
        ContentChanged,
        HttpError,
        PagingError,
        Refused,
        Unavailable,
    )
    from estuary_cdk.kits.http.exchange import Answer
    from estuary_cdk.kits.http.oauth import OAuth2ClientCredentials, OAuth2RefreshToken
    from estuary_cdk.kits.http.pages import (
        CursorPages,
        LinkHeaderPages,
        NextUrlPages,
        NumberedPages,
        OffsetPages,
        Page,
        Paging,
        SinglePage,
        Step,
    )
    from estuary_cdk.kits.http.rate import Rate
    from estuary_cdk.kits.http.retry import Retry
    from estuary_cdk.kits.http.transport import Timeouts, Transport
else:
    from estuary_cdk.exports import exports

    __getattr__ = exports(
        __name__,
        {
            "auth": ("NO_AUTH", "ApiKey", "Auth", "BasicAuth", "BearerToken"),
            "client": ("Client", "Streamed"),
            "downloads": ("Download", "download"),
            "errors": ("ContentChanged", "HttpError", "PagingError", "Refused", "Unavailable"),
            "exchange": ("Answer",),
            "oauth": ("OAuth2ClientCredentials", "OAuth2RefreshToken"),
            "pages": (
                "CursorPages",
                "LinkHeaderPages",
                "NextUrlPages",
                "NumberedPages",
                "OffsetPages",
                "Page",
                "Paging",
                "SinglePage",
                "Step",
            ),
            "rate": ("Rate",),
            "retry": ("Retry",),
            "transport": ("Timeouts", "Transport"),
            "conditions": ("Validators", "validators"),
        },
    )

__all__ = [
    "NO_AUTH",
    "Answer",
    "ApiKey",
    "Auth",
    "BasicAuth",
    "BearerToken",
    "Client",
    "ContentChanged",
    "CursorPages",
    "Download",
    "HttpError",
    "LinkHeaderPages",
    "NextUrlPages",
    "NumberedPages",
    "OAuth2ClientCredentials",
    "OAuth2RefreshToken",
    "OffsetPages",
    "Page",
    "Paging",
    "PagingError",
    "Rate",
    "Refused",
    "Retry",
    "SinglePage",
    "Step",
    "Streamed",
    "Timeouts",
    "Transport",
    "Unavailable",
    "Validators",
    "download",
    "validators",
]
