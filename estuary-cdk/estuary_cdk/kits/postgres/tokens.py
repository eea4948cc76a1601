"""Passwords that clouds make: an identity's token, fetched with the vendor's own library.

The libraries are optional: nobody who logs in with a password needs them. Tokens last from fifteen
minutes to an hour and are asked for only when a session begins, so each connection fetches its own.
"""

import importlib
from collections.abc import Callable
from typing import Any, Final, assert_never

from estuary_cdk.config import Secret
from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.kits.postgres.address import host_and_port
from estuary_cdk.kits.postgres.credentials import (
    AZURE_SCOPE,
    AwsIam,
    AzureIam,
    Credentials,
    GcpIam,
    UserPassword,
)

GOOGLE_SCOPES: Final = ("https://www.googleapis.com/auth/sqlservice.login",)
SESSION_NAME: Final = "estuary-flow"

Importer = Callable[[str], Any]


def password(
    credentials: Credentials, address: str, user: str, library: Importer = importlib.import_module
) -> str:
    """Return what to log in with; asks the cloud where it isn't a password.

    Raises ConfigError where a cloud's library isn't installed, TransientError where no token comes.
    `library` imports a module by name.
    """
    match credentials:
        case UserPassword():
            return credentials.password.get_secret_value()
        case AwsIam():
            return _asked("AWS IAM", lambda: _aws(credentials, address, user, library))
        case GcpIam():
            return _asked("Google Cloud IAM", lambda: _google(credentials, library))
        case AzureIam():
            return _asked("Azure IAM", lambda: _azure(credentials, library))
    assert_never(credentials)


def _asked(cloud: str, ask: Callable[[], str]) -> str:
    try:
        return ask()
    except ImportError as error:
        package = {
            "AWS IAM": "boto3",
            "Google Cloud IAM": "'google-auth[requests]'",
            "Azure IAM": "azure-identity",
        }[cloud]
        raise ConfigError(
            f"can't authenticate with {cloud}: it needs a library that isn't installed: "
            f"{error.name or error}",
            hint=f"pip install {package}",
        ) from error
    except Exception as error:
        # Every library has a hierarchy of its own; all of it means that there is no token.
        text = " ".join(str(error).split())
        raise TransientError(
            f"can't authenticate with {cloud}: no token was given: {type(error).__name__}: {text}",
            hint="check that the connector may act as the identity of its credentials",
        ) from error


def _revealed(secret: Secret | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _aws(credentials: AwsIam, address: str, user: str, library: Importer) -> str:
    boto3 = library("boto3")
    keys = {
        "aws_access_key_id": _revealed(credentials.aws_access_key_id),
        "aws_secret_access_key": _revealed(credentials.aws_secret_access_key),
        "aws_session_token": _revealed(credentials.aws_session_token),
    }
    if keys["aws_access_key_id"] is None:
        sts = boto3.client("sts", region_name=credentials.aws_region)
        role = sts.assume_role(RoleArn=credentials.aws_role_arn, RoleSessionName=SESSION_NAME)[
            "Credentials"
        ]
        keys = {
            "aws_access_key_id": role["AccessKeyId"],
            "aws_secret_access_key": role["SecretAccessKey"],
            "aws_session_token": role["SessionToken"],
        }
    host, port = host_and_port(address)
    rds = boto3.client("rds", region_name=credentials.aws_region, **keys)
    return str(rds.generate_db_auth_token(DBHostname=host, Port=port, DBUsername=user))


def _google(credentials: GcpIam, library: Importer) -> str:
    if credentials.gcp_access_token is not None:
        return credentials.gcp_access_token.get_secret_value()
    auth = library("google.auth")
    requests = library("google.auth.transport.requests")
    source, _ = auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    impersonated = library("google.auth.impersonated_credentials").Credentials(
        source_credentials=source,
        target_principal=credentials.gcp_service_account_to_impersonate,
        target_scopes=list(GOOGLE_SCOPES),
    )
    impersonated.refresh(requests.Request())
    return str(impersonated.token)


def _azure(credentials: AzureIam, library: Importer) -> str:
    if credentials.azure_access_token is not None:
        return credentials.azure_access_token.get_secret_value()
    identity = library("azure.identity")
    found = identity.DefaultAzureCredential(
        managed_identity_client_id=credentials.azure_client_id,
        workload_identity_client_id=credentials.azure_client_id,
        workload_identity_tenant_id=credentials.azure_tenant_id,
    )
    return str(found.get_token(AZURE_SCOPE).token)
