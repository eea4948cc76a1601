"""What the server refuses: a sentence with its cause and remedy, told of the whole connector."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import trustme

from estuary_cdk.errors import CdkError, ConfigError, TransientError
from estuary_cdk.materialize.runner import serve
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.testing.materialize_runtime import BindingModel, MaterializeRuntime
from estuary_cdk.testing.postgres import Cluster, versions
from estuary_cdk.testing.selection import collection, optional, required
from materialize_postgres import materialization, session

SECRET = "very secret"
SPEC = collection("acme/users", ["/id"], {"id": required("integer"), "n": optional("string")})


@dataclass(frozen=True)
class Refused:
    """When something is refused, of whom, and what is told: its cause, its remedy."""

    when: str
    cause: str
    remedy: str
    settings: dict[str, Any] = field(default_factory=dict)
    prepared: tuple[str, ...] = ()
    kind: type[CdkError] = ConfigError


def password(text: str) -> dict[str, Any]:
    return {"user": "flow_asked", "credentials": {"auth_type": "UserPassword", "password": text}}


LESS = {"user": "flow_less"}
FOREIGN = trustme.CA().cert_pem.bytes().decode()
REFUSED = {
    "password": Refused("validate", "incorrect username or password", "", password(SECRET)),
    "user": Refused(
        "validate", "user 'nobody_here' does not exist", "CREATE USER", {"user": "nobody_here"}
    ),
    "database": Refused("validate", "'nowhere' does not exist", "", {"database": "nowhere"}),
    "host": Refused("validate", "", "check the address", {"address": "a.invalid"}),
    "port": Refused(
        "validate",
        "nothing answers at that port",
        "firewalls",
        {"address": "127.0.0.1:1"},
        kind=TransientError,
    ),
    "no TLS": Refused(
        "validate",
        "doesn't encrypt connections",
        "advanced/sslmode",
        {"advanced": {"sslmode": "verify-full", "ssl_server_ca": FOREIGN}},
    ),
    "no way in": Refused(
        "validate", "doesn't let user 'flow_stranger' connect", "pg_hba.conf",
        {"user": "flow_stranger"},
    ),
    "connect": Refused(
        "validate", "does not have CONNECT privilege", "GRANT CONNECT ON DATABASE", LESS,
        ("revoke connect on database {database} from public",),
    ),
    "create a table": Refused(
        "apply", "permission denied for schema", "grant it: CREATE on the schema", LESS,
        ("revoke create on schema public from public",),
    ),
    "create a schema": Refused(
        "apply", "permission denied for database", "on the database",
        {**LESS, "schema": "elsewhere"},
    ),
    "alter a table": Refused(
        "apply", "must be owner of table", "must be owned by the user",
        {**LESS, "schema": "theirs"},
        (
            "create schema theirs",
            "grant all on schema theirs to flow_less",
            "create table theirs.t (id bigint primary key, flow_document json not null)",
        ),
    ),
    "temporary tables": Refused(
        "load", "permission denied to create temporary tables", "TEMPORARY on the database",
        {**LESS, "schema": "ours"},
        (
            "create schema ours authorization flow_less",
            "revoke temporary on database {database} from public",
        ),
    ),
    "a read-only server": Refused(
        "apply", "the server is read-only", "name the primary",
        {}, ("alter database {database} set default_transaction_read_only = on",),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def refusing(clusters) -> Cluster:
    """A server that knows users who may do little."""
    cluster = clusters.of(max(versions()))
    cluster.execute(
        "create role flow_less login",
        "create role flow_stranger login",
        f"create role flow_asked login password '{SECRET} indeed'",
    )
    cluster.admit(
        "host all flow_asked 127.0.0.1/32 scram-sha-256",
        "host all flow_stranger 127.0.0.1/32 reject",
    )
    return cluster


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_refused_is_told_with_its_remedy(what: str, refusing, database, monkeypatch):
    monkeypatch.setattr(session, "CONNECT_PAUSE_S", 0.0)
    case = REFUSED[what]
    refusing.execute(
        *[each.format(database=f'"{database.name}"') for each in case.prepared],
        database=database.name,
    )
    with pytest.raises((case.kind, ExceptionGroup)) as refused:
        await used(database.settings(**case.settings), case.when)
    error: BaseException = refused.value
    while isinstance(error, ExceptionGroup):
        [error] = error.exceptions
    assert isinstance(error, case.kind)
    told = str(error)
    assert told.startswith("can't ")
    assert case.cause in told
    assert case.remedy in told
    assert SECRET not in told


async def used(settings: dict[str, Any], until: str) -> None:
    runtime = MaterializeRuntime(lambda *streams: serve(materialization, *streams))
    resource = encode_json({"table": "t", "allowExistingTable": True})
    spec = await runtime.build(encode_json(settings), [BindingModel(SPEC, resource)])
    assert until != "validate", "nothing was refused"
    await runtime.apply(spec)
    assert until != "apply", "nothing was refused"
    async with runtime.session(spec) as opened:
        await opened.bulk([(0, b'{"id":1,"n":"a"}')], b'{"n":1}')


def test_the_process_says_so_in_its_last_line_and_ends_with_1(refusing, database):
    request = {"validate": {"name": "a/b", "config": database.settings(**password(SECRET))}}
    ended = subprocess.run(
        (sys.executable, "-m", "materialize_postgres"),
        input=encode_json(request) + b"\n",
        capture_output=True,
        check=False,
        env={**os.environ, "LOG_FORMAT": "json"},
    )
    assert (ended.returncode, ended.stdout) == (1, b"")
    last = msgspec.json.decode(ended.stderr.splitlines()[-1])
    assert last["message"] == (
        f"can't connect to {refusing.address!r}: incorrect username or password"
    )
    assert SECRET.encode() not in ended.stderr
