"""What goes wrong is one sentence: what couldn't be done, why, and who does what about it."""

import traceback

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import exceptions as auth

from estuary_cdk.errors import ConfigError, DataError, TransientError
from estuary_cdk.materialize import Table, TruncateTable
from estuary_cdk.testing.bigquery import (
    BACKEND_ERROR,
    QUOTA_EXCEEDED,
    RATE_LIMITED,
    Fault,
    JobFailure,
    access_denied,
    dataset_not_found,
    invalid_query,
)
from materialize_bigquery import service as service_module
from materialize_bigquery.config import Config
from materialize_bigquery.credentials import credentials_of
from materialize_bigquery.mistakes import Scope, translated
from materialize_bigquery.schema import connect

SCOPE = Scope("acme", "bills", "acme.flow", "EU")


@pytest.fixture
def faulty(dataset, monkeypatch):
    if dataset.service is None:
        pytest.skip("the real service has no faults to order")
    monkeypatch.setattr(service_module, "PAUSE_S", 0.001)
    return dataset.service


def empty(dataset) -> None:
    """Do something that is a job."""
    there = Table((dataset.project, dataset.name, "t"), ())
    dataset.apply(TruncateTable(dataset.binding(), there))


# A refusal, what the user is told of it, and by which error.
REFUSALS = {
    "no jobs": (
        access_denied("bigquery.jobs.create", "Project acme"),
        ConfigError,
        r"permission bigquery.jobs.create is missing \(grant the role BigQuery Job User "
        r"\(roles/bigquery.jobUser\) on project acme-project\)",
    ),
    "no tables": (
        access_denied("bigquery.tables.get"),
        ConfigError,
        r"permission bigquery.tables.get is missing \(grant the role BigQuery Data Editor "
        r"\(roles/bigquery.dataEditor\) on dataset acme-project\.",
    ),
    "a quota": (QUOTA_EXCEEDED, TransientError, "Your table exceeded quota .*a quota is used up"),
    "a dataset that went": (
        dataset_not_found(),
        ConfigError,
        "it was deleted, or isn't in region 'US': start the task again, which creates it",
    ),
    "a statement": (invalid_query("Unrecognized name: v"), ConfigError, "Unrecognized name: v"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_is_a_sentence_with_its_remedy(name, dataset, faulty):
    refusal, kind, said = REFUSALS[name]
    dataset.create(dataset.binding())
    faulty.inject(Fault(refusal, job="query", times=99))
    with pytest.raises(kind, match=said) as caught:
        empty(dataset)
    assert str(caught.value).startswith("can't change table")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", REFUSALS)
def test_a_job_that_fails_is_told_the_same(name, dataset, faulty):
    refusal, kind, said = REFUSALS[name]
    dataset.create(dataset.binding())
    faulty.inject(Fault(JobFailure(refusal.reason, refusal.message), job="query", times=99))
    with pytest.raises(kind, match=said):
        empty(dataset)


@pytest.mark.parametrize("refusal", [RATE_LIMITED, BACKEND_ERROR], ids=["rate", "backend"])
def test_what_may_pass_is_tried_again_up_to_a_limit(refusal, dataset, faulty, monkeypatch):
    dataset.create(dataset.binding())
    faulty.inject(Fault(refusal, job="query", times=3))
    empty(dataset)
    faulty.forget()
    faulty.inject(Fault(refusal, job="query", times=99))
    with pytest.raises(TransientError, match="nothing is lost, start again"):
        empty(dataset)
    asked = [call for call in faulty.calls if call.job == "query"]
    assert len(asked) == service_module.CALL_ATTEMPTS_MAX


def test_a_deleted_dataset_ends_the_session_and_is_made_again(dataset, faulty):
    binding = dataset.binding()
    dataset.create(binding)
    name = f"{dataset.project}.{dataset.name}"
    with dataset.opened(binding) as transactor:
        transactor.store(dataset.stores((1, "a")))
        dataset.client.delete_dataset(name, delete_contents=True)
        # The emulator has other words for it.
        faulty.inject(Fault(dataset_not_found(name), method="POST", path="/tables$"))
        with pytest.raises(ConfigError, match=r"Dataset .* start the task again, which creates it"):
            transactor.staged()
    dataset.create(binding)
    assert dataset.rows("t") == []


def test_what_was_staged_and_is_gone_is_told_with_the_remedy(dataset):
    binding = dataset.binding()
    dataset.create(binding)
    with dataset.opened(binding) as transactor:
        transactor.store(dataset.stores((1, "a")))
        work = transactor.staged()
        [table] = dataset.staged()
        dataset.client.delete_table(f"{dataset.project}.{dataset.name}.{table}")
        with pytest.raises(ConfigError, match=r"what was staged is gone.*backfill the binding"):
            transactor.apply(work)


def test_a_value_that_fits_no_column_names_table_column_and_value(dataset):
    at = dataset.field("v", "string", format="date-time")
    binding = dataset.binding(values=[at])
    dataset.create(binding)
    with dataset.opened(binding) as transactor:
        transactor.store(dataset.stores((1, "yesterday")))
        with pytest.raises(DataError, match=r"column 'v' of table '.*\.t': '\"yesterday\"' isn't"):
            transactor.staged()


def key(**more) -> str:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    info = {
        "type": "service_account",
        "client_email": "flow@acme.iam.gserviceaccount.com",
        "private_key_id": "1",
        "private_key": text,
        "token_uri": "http://127.0.0.1:1/token",
    }
    return msgspec.json.encode({**info, **more}).decode()


def config(credentials: dict) -> Config:
    return Config.model_validate(
        {"project_id": "acme", "region": "EU", "dataset": "flow", "credentials": credentials}
    )


def test_a_broken_key_is_told_without_a_word_of_it():
    pem = "-----BEGIN PRIVATE KEY-----\nvery secret\n-----END PRIVATE KEY-----\n"
    for broken in ({"private_key": "very secret"}, {"private_key": pem}):
        text = key(**broken)
        chosen = config({"auth_type": "CredentialsJSON", "credentials_json": text})
        with pytest.raises(ConfigError, match="it isn't whole") as caught:
            credentials_of(chosen)
        shown = "".join(traceback.format_exception(caught.value))
        assert "very secret" not in shown
        assert "PRIVATE KEY" not in shown
    assert "PRIVATE" not in repr(chosen)


def test_refused_credentials_are_told_without_what_the_library_says():
    error = auth.RefreshError("invalid_grant: Invalid JWT Signature.", {"secret": "very secret"})
    told = translated(error, SCOPE, "connect to BigQuery")
    assert isinstance(told, ConfigError)
    assert str(told).startswith("can't connect to BigQuery: Google refuses the credentials (")
    assert "secret" not in str(told)


def test_nobody_without_credentials_asks_google():
    with pytest.raises(ConfigError, match="it takes nobody without credentials"):
        credentials_of(config({"auth_type": "GCPAnonymous"}))


def test_a_workload_identity_has_the_token_of_the_platform():
    chosen = config(
        {
            "auth_type": "GCPIAM",
            "gcp_service_account_to_impersonate": "flow@acme.iam.gserviceaccount.com",
            "gcp_workload_identity_pool_audience": "//iam.googleapis.com/projects/1",
            "gcp_access_token": "very secret",
        }
    )
    assert credentials_of(chosen).token == "very secret"
    assert "very secret" not in repr(chosen)


def test_missing_default_credentials_are_told_with_their_remedy(monkeypatch):
    told = translated(auth.DefaultCredentialsError("none"), SCOPE, "connect to BigQuery")
    assert "no application default credentials" in str(told)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(told)


def test_an_endpoint_that_is_not_there_is_told_as_what_may_pass(dataset, monkeypatch):
    monkeypatch.setattr(service_module, "PAUSE_S", 0.001)
    monkeypatch.setattr(service_module, "CALL_ATTEMPTS_MAX", 2)
    advanced = {"api_endpoint": "http://127.0.0.1:1"}
    with (
        pytest.raises(TransientError, match="check that the endpoint can be reached"),
        connect(dataset.config(advanced=advanced)),
    ):
        pass
