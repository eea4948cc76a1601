"""A cloud's identity becomes a password, through the vendor's library or the platform's tokens."""

from types import SimpleNamespace

import pytest

from estuary_cdk.config import EndpointConfig, Secret, parse
from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.jsonschema import config_schema
from estuary_cdk.kits.postgres import AwsIam, AzureIam, Credentials, GcpIam, credentials_setting
from estuary_cdk.kits.postgres.tokens import password

AWS = AwsIam(aws_region="eu-west-1", aws_role_arn="arn:aws:iam::1:role/flow")
GOOGLE = GcpIam(
    gcp_service_account_to_impersonate="a@b.iam.gserviceaccount.com",
    gcp_workload_identity_pool_audience="//iam.googleapis.com/p",
)
AZURE = AzureIam(azure_client_id="client", azure_tenant_id="tenant")


class Config(EndpointConfig):
    credentials: Credentials = credentials_setting()


class Amazon:
    """boto3 as far as it is used."""

    def client(self, service, *, region_name, **keys):
        assert region_name == "eu-west-1"
        self.keys = keys
        return self

    def assume_role(self, *, RoleArn, RoleSessionName):
        assert RoleSessionName
        keys = {"AccessKeyId": RoleArn, "SecretAccessKey": "s", "SessionToken": "t"}
        return {"Credentials": keys}

    def generate_db_auth_token(self, *, DBHostname, Port, DBUsername):
        return f"{DBHostname}:{Port}/{DBUsername} {sorted(self.keys.values())}"


def google(name):
    def impersonated(*, source_credentials, target_principal, target_scopes):
        made = SimpleNamespace(token=None)

        def refresh(request):
            made.token = f"{source_credentials} as {target_principal} by {request}"

        assert target_scopes == ["https://www.googleapis.com/auth/sqlservice.login"]
        made.refresh = refresh
        return made

    return {
        "google.auth": SimpleNamespace(default=lambda scopes: ("default", "project")),
        "google.auth.transport.requests": SimpleNamespace(Request=lambda: "http"),
        "google.auth.impersonated_credentials": SimpleNamespace(Credentials=impersonated),
    }[name]


def azure(name):
    assert name == "azure.identity"

    def credential(**ids):
        def get_token(scope):
            return SimpleNamespace(token=f"{sorted(set(ids.values()))} for {scope}")

        return SimpleNamespace(get_token=get_token)

    return SimpleNamespace(DefaultAzureCredential=credential)


def absent(name):
    raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_a_role_is_assumed_and_signs_the_password():
    got = password(AWS, "db:6000", "flow", lambda name: Amazon())
    assert got == "db:6000/flow ['arn:aws:iam::1:role/flow', 's', 't']"


def test_keys_that_the_platform_gave_are_used_as_they_are():
    given = AWS.model_copy(
        update={
            "aws_access_key_id": Secret("a"),
            "aws_secret_access_key": Secret("b"),
            "aws_session_token": Secret("c"),
        }
    )
    got = password(given, "db", "flow", lambda name: Amazon())
    assert got == "db:5432/flow ['a', 'b', 'c']"


def test_a_service_account_is_impersonated():
    got = password(GOOGLE, "db", "flow", google)
    assert got == "default as a@b.iam.gserviceaccount.com by http"


def test_an_application_gets_a_token_for_databases():
    got = password(AZURE, "db", "flow", azure)
    assert got == "['client', 'tenant'] for https://ossrdbms-aad.database.windows.net/.default"


@pytest.mark.parametrize(
    ("credentials", "token"), [(GOOGLE, "gcp_access_token"), (AZURE, "azure_access_token")]
)
def test_a_token_that_the_platform_gave_needs_no_library(credentials, token):
    given = credentials.model_copy(update={token: Secret("given")})
    assert password(given, "db", "flow", absent) == "given"


@pytest.mark.parametrize(
    ("credentials", "package"),
    [(AWS, "boto3"), (GOOGLE, r"'google-auth\[requests\]'"), (AZURE, "azure-identity")],
)
def test_a_library_that_is_missing_is_named_with_its_package(credentials, package):
    with pytest.raises(ConfigError, match=f"it needs a library.*pip install {package}"):
        password(credentials, "db", "flow", absent)


def test_a_cloud_that_gives_no_token_is_worth_another_try():
    def refusing(name):
        raise RuntimeError("AccessDenied")

    with pytest.raises(TransientError, match="no token was given: RuntimeError: AccessDenied"):
        password(AWS, "db", "flow", refusing)


def test_tokens_are_read_from_a_config_but_not_asked_for_in_the_form():
    raw = b"""{"credentials": {"auth_type": "AWSIAM", "aws_region": "r", "aws_role_arn": "a",
        "aws_access_key_id": "k", "aws_secret_access_key": "hidden", "aws_session_token": "t"}}"""
    config = parse(Config, raw, "endpoint config")
    assert config.credentials.aws_secret_access_key.get_secret_value() == "hidden"
    schema = config_schema(Config)
    assert b"aws_access_key_id" not in schema
    assert b"access_token" not in schema
    assert b'"x-iam-auth":true' in schema
