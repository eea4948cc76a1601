"""What may be configured, what is refused, and what older specs say."""

import msgspec
import pytest

from estuary_cdk.config import parse
from estuary_cdk.errors import ConfigError
from materialize_bigquery.config import Bucket, Config, Direct, Resource, ServiceAccount, path

BASE = {
    "project_id": "acme",
    "region": "EU",
    "dataset": "flow",
    "credentials": {"auth_type": "GCPEnvironment"},
}
KEY = '{"type":"service_account","private_key":"very secret"}'


def config(**more) -> Config:
    return parse(Config, msgspec.json.encode({**BASE, **more}), "the endpoint config")


def resource(**settings) -> Resource:
    return parse(Resource, msgspec.json.encode({"table": "t", **settings}), "the resource config")


def test_nothing_but_a_place_and_credentials_is_needed():
    least = config()
    assert isinstance(least.staging, Direct)
    assert least.jobs_project == "acme"
    assert config(billing_project_id="bills").jobs_project == "bills"
    assert path(least, resource()) == ("acme", "flow", "t")
    assert path(least, resource(dataset="other", table="a b")) == ("acme", "other", "a_b")


def test_a_spec_of_estuarys_own_connector_is_taken_as_it_is():
    older = {key: value for key, value in BASE.items() if key != "credentials"}
    settings = {
        **older,
        "credentials_json": KEY,
        "bucket": "stage",
        "bucket_path": "flow/",
        "hardDelete": True,
        "syncSchedule": {"syncFrequency": "1h"},
        "advanced": {"disableFieldTruncation": False, "feature_flags": "x"},
    }
    found = parse(Config, msgspec.json.encode(settings), "the endpoint config")
    assert isinstance(found.credentials, ServiceAccount)
    assert isinstance(found.staging, Bucket)
    assert found.staging.bucket == "stage"
    assert found.truncation is not None
    assert config(bucket="").staging == Direct()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"credentials": {"auth_type": "CredentialsJSON", "credentials_json": "{"}}, "isn't JSON"),
        (
            {
                "credentials": {
                    "auth_type": "CredentialsJSON",
                    "credentials_json": '{"private_key":"very secret"}',
                }
            },
            "no key file of a service account",
        ),
        ({"dataset": "a-b"}, "/dataset"),
        ({"advanced": {"api_endpoint": "localhost:1"}}, "/advanced/api_endpoint"),
        ({"staging": {"type": "GCS"}}, "/staging"),
        ({"regio": "EU"}, "/regio: unknown key, did you mean 'region'"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_without_secrets(settings, said):
    with pytest.raises(ConfigError, match=said) as caught:
        config(**settings)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"table": "!"}, "letter or a digit"),
        ({"table": "flow_applied_v1"}, "keeps what it has applied"),
        ({"clustering": list("abcde")}, "at most 4"),
        (
            {"partitioning": {"type": "Range", "column": "a", "start": 0, "end": 5, "interval": 9}},
            "makes 0 partitions",
        ),
        (
            {
                "partitioning": {
                    "type": "Range",
                    "column": "a",
                    "start": 0,
                    "end": 10**6,
                    "interval": 1,
                }
            },
            "makes 1000000 partitions",
        ),
        ({"partitioning": {"type": "Time", "column": "a", "granularity": "WEEK"}}, "granularity"),
    ],
)
def test_a_table_that_cannot_be_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        resource(**settings)
