"""Each way a connection can fail is one sentence that says whose move it is."""

import asyncio
from dataclasses import replace

import psycopg
import pytest

from estuary_cdk.config import Secret
from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.kits.postgres import (
    GcpIam,
    UserPassword,
    connect,
    dialling,
    explained,
    host_and_port,
)
from estuary_cdk.kits.tunnel import NetworkTunnel, forwarded
from estuary_cdk.testing.ssh import ssh

IN_THE_CLOUD = GcpIam(
    gcp_service_account_to_impersonate="a",
    gcp_workload_identity_pool_audience="b",
    gcp_access_token=Secret("right"),
)


def refusal(server, kind=ConfigError, **parameters) -> str:
    with pytest.raises(kind) as refused:
        connect(server, **parameters)
    return str(refused.value)


def test_a_session_has_the_settings_asked_for(guarded):
    settings = {"datestyle": "ISO, MDY", "search_path": 'a\\b, "c d"'}
    with connect(guarded.server, settings) as connection:
        for name, value in settings.items():
            assert connection.execute(f"show {name}".encode()).fetchone() == (value,)
        assert connection.execute(b"show application_name").fetchone() == ("estuary_flow",)
        assert connection.autocommit


def test_the_same_parameters_serve_asynchronous_connections(guarded):
    async def asked():
        with dialling(guarded.server) as parameters:
            connection = await psycopg.AsyncConnection.connect(**parameters)
        async with connection:
            cursor = await connection.execute(b"select current_user")
            return await cursor.fetchone()

    assert asyncio.run(asked()) == ("reader",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"credentials": UserPassword(password=Secret("wrong"))},
            "incorrect username or password",
        ),
        ({"credentials": UserPassword(password=Secret(""))}, "set credentials/password"),
        ({"database": "nowhere"}, "database 'nowhere' does not exist"),
        ({"database": "private"}, 'GRANT CONNECT ON DATABASE "private" TO "reader"'),
        ({"database": "closed"}, "takes no connections"),
        ({"user": "absent"}, "user 'absent' does not exist"),
        ({"user": "locked"}, 'ALTER USER "locked" WITH LOGIN'),
        ({"user": "stranger"}, "pg_hba.conf"),
    ],
)
def test_a_refusal_is_a_sentence_with_a_remedy(guarded, change, said):
    text = refusal(guarded.asked(**change))
    assert text.startswith("can't connect to '127.0.0.1:")
    assert said in text
    assert "wrong" not in text


def test_replication_without_the_role_is_told_with_the_statement(guarded):
    text = refusal(guarded.server, replication="database")
    assert 'ALTER USER "reader" WITH REPLICATION' in text


@pytest.mark.parametrize("change", [{"user": "few"}])
def test_too_many_connections_may_pass(guarded, change):
    assert "too many connections" in refusal(guarded.asked(**change), TransientError)


def test_a_host_that_isnt_known_is_the_users_to_correct(guarded):
    server = guarded.asked(address="db.invalid")
    with pytest.raises((ConfigError, TransientError), match="host"):
        connect(server)


def test_a_port_where_nothing_answers_may_be_a_restart(guarded):
    text = refusal(guarded.asked(address="127.0.0.1:1"), TransientError)
    assert "nothing answers at that port" in text
    assert "firewalls" in text


async def test_something_else_at_the_port_is_told(guarded):
    async def web(reader, writer):
        await reader.read(8)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(web, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        server = guarded.asked(address=f"127.0.0.1:{port}")
        text = await asyncio.to_thread(refusal, server)
    assert "isn't PostgreSQL" in text


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("unsupported startup parameter: replication", "connection pooler"),
        ("unsupported startup parameter in options: statement_timeout", "connection pooler"),
        ("Tenant or user not found", "connection pooler"),
        ("the database system is starting up", "starting, stopping or recovering"),
        ("remaining connection slots are reserved for superusers", "too many connections"),
    ],
)
async def test_what_poolers_and_busy_servers_say_is_understood(guarded, said, meant):
    async def refusing(reader, writer):
        # Encryption is declined, then the session.
        await reader.read(8)
        writer.write(b"N")
        await reader.read(1000)
        fields = b"SFATAL\0C08P01\0M" + said.encode() + b"\0\0"
        writer.write(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)
        writer.close()

    async with await asyncio.start_server(refusing, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        server = guarded.asked(address=f"127.0.0.1:{port}")
        kinds = (ConfigError, TransientError)
        text = await asyncio.to_thread(refusal, server, kinds)
    assert meant in text


def test_a_token_is_never_sent_in_the_clear(guarded):
    text = refusal(guarded.asked(credentials=IN_THE_CLOUD))
    assert "the server doesn't encrypt connections" in text


def test_errors_within_a_session_keep_the_servers_words_and_code(guarded):
    server = guarded.server
    with connect(server) as connection:
        unknown = pytest.raises(ConfigError, match='relation "nothing" does not exist')
        with unknown as refused, explained(server, "count rows"):
            connection.execute(b"select count(*) from nothing")
        assert refused.value.sqlstate == "42P01"
        connection.execute(b"set default_transaction_read_only = on")
        with pytest.raises(ConfigError, match="use the primary"), explained(server, "write"):
            connection.execute(b"create table t ()")


def test_a_session_that_is_ended_may_be_begun_again(guarded):
    server = guarded.server
    with connect(server) as connection:
        pid = connection.info.backend_pid
        guarded.run(f"select pg_terminate_backend({pid}, 5000)")
        with pytest.raises(TransientError), explained(server, "count rows"):
            connection.execute(b"select 1")


@pytest.mark.parametrize("mode", ["disable", "", "allow", "prefer", "require"])
def test_encryption_is_used_as_the_mode_says(encrypted, mode):
    assert encrypted.used(encrypted.tls(sslmode=mode)) == (mode not in {"disable", "allow"})


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_a_server_is_verified_by_the_authority_of_the_config(encrypted, mode):
    server = encrypted.tls(sslmode=mode, ssl_server_ca=encrypted.trusted)
    assert encrypted.used(server)


def test_another_host_fails_full_verification_alone(encrypted):
    address = f"127.0.0.1:{encrypted.cluster.port}"
    for mode, passes in {"verify-ca": True, "verify-full": False}.items():
        server = encrypted.tls(sslmode=mode, ssl_server_ca=encrypted.trusted)
        elsewhere = replace(server, address=address)
        if passes:
            assert encrypted.used(elsewhere)
        else:
            assert "certificate is for another host" in refusal(elsewhere)


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full", "require"])
def test_another_authority_fails_verification(encrypted, mode):
    from trustme import CA

    foreign = CA().cert_pem.bytes().decode()
    server = encrypted.tls(sslmode=mode, ssl_server_ca=foreign)
    assert "isn't signed by an authority that is trusted here" in refusal(server)


@pytest.mark.parametrize("mode", ["verify-ca", "verify-full"])
def test_the_systems_authorities_dont_know_a_private_one(encrypted, mode):
    assert "advanced/ssl_server_ca" in refusal(encrypted.tls(sslmode=mode))


def test_a_server_without_tls_is_refused_where_it_is_required(guarded, encrypted):
    for mode in ("require", "verify-full"):
        tls = encrypted.tls(sslmode=mode, ssl_server_ca=encrypted.trusted).tls
        assert "ALTER SYSTEM SET ssl = on" in refusal(guarded.asked(tls=tls))


def test_a_client_certificate_identifies_the_user(encrypted):
    issued = encrypted.authority.issue_cert("x", common_name="certified")
    settings = {
        "sslmode": "require",
        "ssl_client_cert": issued.cert_chain_pems[0].bytes().decode(),
        "ssl_client_key": issued.private_key_pem.bytes().decode(),
    }
    server = replace(encrypted.tls(**settings), user="certified")
    assert encrypted.used(server)
    other = encrypted.authority.issue_cert("x", common_name="other")
    settings["ssl_client_cert"] = other.cert_chain_pems[0].bytes().decode()
    assert "can't be used together" in refusal(replace(encrypted.tls(**settings), user="certified"))
    settings["ssl_client_key"] = other.private_key_pem.bytes().decode()
    assert "common name" in refusal(replace(encrypted.tls(**settings), user="certified"))
    without = replace(encrypted.tls(sslmode="require"), user="certified")
    assert "asks for a client certificate" in refusal(without)


def test_the_servers_own_name_is_verified_through_a_tunnel(encrypted):
    server = encrypted.tls(sslmode="verify-full", ssl_server_ca=encrypted.trusted)
    with ssh() as bastion:
        given = {"sshEndpoint": bastion.endpoint, "privateKey": bastion.private_key}
        settings = NetworkTunnel.model_validate({"sshForwarding": given})
        with forwarded(settings, *host_and_port(server.address)) as way:
            assert encrypted.used(replace(server, way=way))
            bastion.stop()
            closed = refusal(replace(server, way=way), TransientError)
    assert "can't connect to SSH server" in closed


def test_certificates_that_arent_any_are_told_of_before_connecting(encrypted):
    with pytest.raises(ValueError, match="it holds no certificates"):
        encrypted.tls(ssl_server_ca="MIIB")
    with pytest.raises(ValueError, match="only together"):
        encrypted.tls(ssl_client_cert="x")


def test_a_connection_that_breaks_amid_an_answer_may_be_tried_again(guarded):
    connection = connect(guarded.server)
    with pytest.raises(TransientError), explained(guarded.server, "ask"):
        connection.execute(b"select pg_terminate_backend(pg_backend_pid())")
    broken = psycopg.DatabaseError("server closed the connection unexpectedly")
    with pytest.raises(TransientError), explained(guarded.server, "ask"):
        raise broken
    connection.close()
