"""Who we are to a PostgreSQL server: a password, or an identity of a cloud.

A cloud's identity is turned into a short-lived password by `tokens`. Where the platform that runs
the connector exchanged the identity already, its tokens stand in fields that forms don't show.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict
from pydantic.json_schema import SkipJsonSchema

from estuary_cdk.config import Secret, Settings, setting

AZURE_SCOPE: Final = "https://ossrdbms-aad.database.windows.net/.default"
DEFAULT_TYPE: Final = "UserPassword"

# What tells the platform to put tokens into a config.
_ANNOTATIONS: Final[Mapping[str, Any]] = {"x-iam-auth": True, "x-iam-azure-scope": AZURE_SCOPE}

Injected = Annotated[Secret | None, SkipJsonSchema()]
"""A token that the platform adds to a config when it runs the connector."""


def _injected() -> Any:
    return setting(None, title="Token", description="Set by the platform.")


class UserPassword(Settings):
    """Credentials of PostgreSQL's own."""

    model_config = ConfigDict(title="Password")

    auth_type: Literal["UserPassword"] = setting(
        "UserPassword", title="Auth Type", description="How to authenticate."
    )
    password: Secret = setting(title="Password", description="The user's password.", order=1)


class AwsIam(Settings):
    """A role of AWS that may connect to a database of RDS or Aurora."""

    model_config = ConfigDict(title="AWS IAM")

    auth_type: Literal["AWSIAM"] = setting(
        "AWSIAM", title="Auth Type", description="How to authenticate."
    )
    aws_region: str = setting(
        title="AWS Region", description="The region of the database, such as us-east-1."
    )
    aws_role_arn: str = setting(
        title="AWS Role ARN",
        description="The role to assume, which has the permission rds-db:connect.",
    )
    aws_access_key_id: Injected = _injected()
    aws_secret_access_key: Injected = _injected()
    aws_session_token: Injected = _injected()


class GcpIam(Settings):
    """A service account of Google Cloud that may log in to a Cloud SQL instance."""

    model_config = ConfigDict(title="Google Cloud IAM")

    auth_type: Literal["GCPIAM"] = setting(
        "GCPIAM", title="Auth Type", description="How to authenticate."
    )
    gcp_service_account_to_impersonate: str = setting(
        title="Service Account",
        description="E-mail address of the service account that is a user of the database.",
    )
    gcp_workload_identity_pool_audience: str = setting(
        title="Workload Identity Pool Audience",
        description="Such as //iam.googleapis.com/projects/123/locations/global/"
        "workloadIdentityPools/test-pool/providers/test-provider.",
    )
    gcp_access_token: Injected = _injected()


class AzureIam(Settings):
    """An application of Microsoft Entra that may log in to Azure's PostgreSQL."""

    model_config = ConfigDict(title="Azure IAM")

    auth_type: Literal["AzureIAM"] = setting(
        "AzureIAM", title="Auth Type", description="How to authenticate."
    )
    azure_client_id: str = setting(
        title="Azure Client ID", description="Client ID of the app registration."
    )
    azure_tenant_id: str = setting(
        title="Azure Tenant ID", description="The tenant of the app registration."
    )
    azure_access_token: Injected = _injected()


Credentials = UserPassword | AwsIam | GcpIam | AzureIam


def credentials_setting() -> Any:
    """Declare the setting `credentials: Credentials` of an endpoint config."""
    return setting(
        title="Authentication",
        description="How to authenticate.",
        discriminator="auth_type",
        annotations=_ANNOTATIONS,
    )


def with_credentials(value: Any) -> Any:
    """Bring an endpoint config to today's shape, before it is validated.

    Specs once had the password at the top, and credentials without a type are a password's.
    """
    if not isinstance(value, dict):
        return value
    rest = {name: each for name, each in value.items() if name != "password"}
    if value.get("password") and not value.get("credentials"):
        rest["credentials"] = {"password": value["password"]}
    credentials = rest.get("credentials")
    if isinstance(credentials, dict) and "auth_type" not in credentials:
        rest["credentials"] = {"auth_type": DEFAULT_TYPE, **credentials}
    return rest
