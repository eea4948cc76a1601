"""Clients of a config: who asks, and where."""

from typing import Any, Final

import google.auth
import msgspec
from google.auth import exceptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials as Token

from estuary_cdk.errors import ConfigError
from materialize_bigquery.config import Anonymous, Config, Environment, GcpIam, ServiceAccount

SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
USER_AGENT: Final = "estuary-materialize-bigquery"


def client_of(config: Config) -> Any:
    """Return a client of the BigQuery API; its calls raise where the credentials are refused."""
    options = {"api_endpoint": config.advanced.api_endpoint} if _has_own_endpoint(config) else None
    return bigquery.Client(
        project=config.jobs_project,
        credentials=credentials_of(config),
        location=config.region,
        client_options=options,
    )


def storage_of(config: Config) -> Any:
    """Return a client of the Storage Read API, None where an endpoint of one's own has none."""
    from google.cloud.bigquery_storage_v1 import BigQueryReadClient
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import (
        BigQueryReadGrpcTransport,
    )

    own = config.advanced.storage_endpoint
    if not _has_own_endpoint(config):
        return BigQueryReadClient(credentials=credentials_of(config))
    if not own:
        return None
    if str(config.advanced.api_endpoint).startswith("https:"):
        return BigQueryReadClient(
            credentials=credentials_of(config), client_options={"api_endpoint": own}
        )
    import grpc

    channel = grpc.insecure_channel(own)
    return BigQueryReadClient(transport=BigQueryReadGrpcTransport(channel=channel))


def _has_own_endpoint(config: Config) -> bool:
    return config.advanced.api_endpoint is not None


def credentials_of(config: Config) -> Any:
    """Return credentials as Google's libraries have them.

    Raises ConfigError, without what is secret, for those that can't be used.
    """
    chosen = config.credentials
    match chosen:
        case ServiceAccount():
            return _of_key(chosen)
        case GcpIam():
            if chosen.gcp_access_token is not None:
                return Token(token=chosen.gcp_access_token.get_secret_value())
            return _of_workload(chosen)
        case Environment():
            return _of_environment()
        case Anonymous():
            if not _has_own_endpoint(config):
                raise ConfigError(
                    "can't connect to BigQuery: it takes nobody without credentials",
                    hint="choose an authentication, or set advanced/api_endpoint to an emulator's",
                )
            return AnonymousCredentials()


def _of_key(chosen: ServiceAccount) -> Any:
    try:
        info = msgspec.json.decode(chosen.credentials_json.get_secret_value())
        return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
    except (ValueError, exceptions.GoogleAuthError):
        # What the library says may quote the key.
        raise ConfigError(
            "can't use the service account's key: it isn't whole",
            hint="download the key file again and paste all of it",
        ) from None


def _of_workload(chosen: GcpIam) -> Any:
    from google.auth import impersonated_credentials

    source, _ = google.auth.default(scopes=SCOPES)
    return impersonated_credentials.Credentials(
        source_credentials=source,
        target_principal=chosen.gcp_service_account_to_impersonate,
        target_scopes=list(SCOPES),
    )


def _of_environment() -> Any:
    found, _ = google.auth.default(scopes=SCOPES)
    return found
