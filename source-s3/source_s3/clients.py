"""Clients of Amazon's services, made with the credentials of a config."""

from functools import partial
from typing import Any
from xml.etree.ElementTree import ParseError

import botocore.session
from botocore import UNSIGNED
from botocore.config import Config as ClientConfig
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError

from source_s3.answers import intercept
from source_s3.config import AccessKey, Anonymous, Config, Notifications, Role
from source_s3.refusals import refusal

REQUESTS_AT_ONCE = 16
ATTEMPTS_MAX = 6
TIMEOUT_S = 60
LOADER = create_loader()  # keeps descriptions of services, which are large, once they are parsed
FAILURES = (BotoCoreError, ClientError, ParseError, ResponseParserError, ValueError, OSError)


def bucket_client(config: Config) -> Any:
    """Return a client for a config's bucket."""
    advanced = config.advanced
    path_style = advanced.path_style or advanced.endpoint is not None
    try:
        client = _client(
            config,
            "s3",
            region_name=config.region,
            endpoint_url=advanced.endpoint,
            s3={"addressing_style": "path" if path_style else "auto"},
        )
    except FAILURES as error:
        raise refusal(error, "reach", f"bucket {config.bucket!r}", config.region) from error
    intercept(client)
    return client


def queue_client(config: Config, queue: Notifications) -> Any:
    """Return a client for the queue that a bucket's events are sent to."""
    region = queue.region or config.region
    try:
        return _client(config, "sqs", region_name=region, endpoint_url=queue.endpoint)
    except FAILURES as error:
        raise refusal(error, "reach", f"queue {queue.queue_url!r}", region) from error


def _client(
    config: Config, service: str, *, region_name: str, endpoint_url: str | None, **extra: Any
) -> Any:
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    credentials = config.credentials
    options: dict[str, Any] = {}
    if isinstance(credentials, AccessKey):
        options["aws_access_key_id"] = credentials.access_key_id
        options["aws_secret_access_key"] = credentials.secret_access_key.get_secret_value()
    if isinstance(credentials, Role):
        _assume(session, credentials)
    if isinstance(credentials, Anonymous):
        extra["signature_version"] = UNSIGNED
    return session.create_client(
        service,
        region_name=region_name,
        endpoint_url=endpoint_url,
        config=ClientConfig(
            connect_timeout=TIMEOUT_S,
            read_timeout=TIMEOUT_S,
            max_pool_connections=REQUESTS_AT_ONCE,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS_MAX},
            **extra,
        ),
        **options,
    )


def _assume(session: Any, role: Role) -> None:
    """Have the session use a role's credentials, fetched when needed and again before they end."""
    source = session.get_credentials()
    if source is None:
        raise NoCredentialsError
    extra = {"RoleSessionName": "estuary-source-s3"}
    if role.external_id:
        extra["ExternalId"] = role.external_id
    fetcher = AssumeRoleCredentialFetcher(
        client_creator=partial(session.create_client, region_name=role.region),
        source_credentials=source,
        role_arn=role.role_arn,
        extra_args=extra,
    )
    session._credentials = DeferredRefreshableCredentials(  # noqa: SLF001 - there is no other way
        fetcher.fetch_credentials, "assume-role"
    )
