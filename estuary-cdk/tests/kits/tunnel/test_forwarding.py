"""What is dialled at a tunnel's entrance is reached, again after a loss, or it is said why not."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import asyncssh
import pytest

from estuary_cdk.config import EndpointConfig, parse
from estuary_cdk.errors import ConfigError, TransientError
from estuary_cdk.kits.tunnel import NetworkTunnel, forwarded, network_tunnel_setting
from estuary_cdk.testing.patience import HANGS_S
from estuary_cdk.testing.ssh import ssh


class Config(EndpointConfig):
    network_tunnel: NetworkTunnel | None = network_tunnel_setting()


@pytest.fixture
def bastion():
    with ssh() as server:
        yield server


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """The port of a server that returns all it was sent, once it was sent all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=[connection], daemon=True).start()

        def answer(connection: socket.socket) -> None:
            with connection:
                while data := connection.recv(1 << 16):
                    connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def settings(server, **changes) -> NetworkTunnel:
    given = {"sshEndpoint": server.endpoint, "privateKey": server.private_key, **changes}
    return NetworkTunnel.model_validate({"sshForwarding": given})


@contextmanager
def dialled(tunnel) -> Iterator[socket.socket]:
    with socket.create_connection(tunnel.entrance, timeout=HANGS_S) as connection:
        yield connection


def echoed(connection, data: bytes) -> bytes:
    threading.Thread(target=connection.sendall, args=[data], daemon=True).start()
    got = b""
    while len(got) < len(data) and (more := connection.recv(1 << 20)):
        got += more
    return got


def failure(tunnel):
    """Dial, and return why that failed."""
    with dialled(tunnel) as connection, suppress(ConnectionError):
        assert connection.recv(1) == b""
    return tunnel.failure


def test_connections_are_led_through(bastion, echo):
    data = bytes(range(256)) * 40_000
    with forwarded(settings(bastion), "localhost", echo) as tunnel:
        with dialled(tunnel) as first, dialled(tunnel) as second:
            assert echoed(first, data) == data
            assert echoed(second, b"small") == b"small"
            assert echoed(first, b"again") == b"again"
            first.shutdown(socket.SHUT_WR)
            assert first.recv(1) == b""
        assert tunnel.failure is None
    assert bastion.requested == [("localhost", echo)] * 2
    assert len(bastion.connections) == 1


def test_without_a_tunnel_in_the_config_there_is_none():
    for settings in (None, NetworkTunnel()):
        with forwarded(settings, "localhost", 1) as tunnel:
            assert tunnel is None


def test_a_tunnel_that_was_lost_is_opened_again(bastion, echo):
    with forwarded(settings(bastion), "localhost", echo) as tunnel:
        with dialled(tunnel) as connection:
            assert echoed(connection, b"x") == b"x"
            assert bastion.drop() == 1
            with suppress(ConnectionError):
                assert connection.recv(1) == b""
        assert isinstance(tunnel.failure, TransientError)
        assert "can't keep the tunnel through SSH server 127.0.0.1" in str(tunnel.failure)
        with dialled(tunnel) as connection:
            assert echoed(connection, b"y") == b"y"
        assert tunnel.failure is None


def test_a_server_that_was_away_is_found_when_it_is_back(bastion, echo):
    with forwarded(settings(bastion), "localhost", echo) as tunnel:
        bastion.stop()
        assert "nothing answers at that port" in str(failure(tunnel))
        bastion.start()
        with dialled(tunnel) as connection:
            assert echoed(connection, b"y") == b"y"


def test_a_key_that_isnt_accepted_is_told_with_what_to_add(bastion, echo):
    other = asyncssh.generate_private_key("ssh-ed25519")
    changed = settings(bastion, privateKey=other.export_private_key().decode())
    with forwarded(changed, "localhost", echo) as tunnel:
        refused = failure(tunnel)
    assert isinstance(refused, ConfigError)
    assert "doesn't accept the key for user 'tunnel'" in str(refused)
    assert other.export_public_key().decode().split()[1] in str(refused)


def test_keys_of_every_format_are_taken(bastion):
    for kind in ("ssh-rsa", "ecdsa-sha2-nistp256", "ssh-ed25519"):
        key = asyncssh.generate_private_key(kind)
        for form in ("pkcs8-pem", "openssh", *(["pkcs1-pem"] if kind != "ssh-ed25519" else [])):
            text = key.export_private_key(form).decode()
            with forwarded(settings(bastion, privateKey=text), "localhost", 1) as tunnel:
                assert tunnel is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("hello", "it isn't a whole private key"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA", "from -----BEGIN to END-----"),
        ("ssh-ed25519 AAAA me@here", "it is a public key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519", "puttygen"),
        (
            asyncssh.generate_private_key("ssh-ed25519")
            .export_private_key("pkcs8-pem", passphrase="p")
            .decode(),
            "it is protected by a passphrase",
        ),
    ],
)
def test_a_key_that_isnt_one_is_told_before_dialling(bastion, text, why):
    refused = pytest.raises(ConfigError, match=why)
    with refused, forwarded(settings(bastion, privateKey=text), "localhost", 1):
        pass


@pytest.mark.parametrize(
    ("endpoint", "why", "kind"),
    [
        ("ssh://tunnel@127.0.0.1:1", "nothing answers at that port", TransientError),
        (
            "ssh://tunnel@bastion.invalid",
            "SSH server bastion.invalid:22",
            (ConfigError, TransientError),
        ),
    ],
)
def test_a_server_that_cant_be_reached_is_named(bastion, endpoint, why, kind):
    with forwarded(settings(bastion, sshEndpoint=endpoint), "localhost", 1) as tunnel:
        found = failure(tunnel)
    assert why in str(found)
    assert isinstance(found, kind)


def test_something_that_isnt_an_ssh_server_is_told(bastion):
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        endpoint = f"ssh://tunnel@127.0.0.1:{listener.getsockname()[1]}"
        with forwarded(settings(bastion, sshEndpoint=endpoint), "localhost", 1) as tunnel:
            found = failure(tunnel)
    assert "SSH server 127.0.0.1" in str(found)


def test_a_server_that_doesnt_forward_is_told_of_its_setting(bastion, echo):
    bastion.forwards = False
    with forwarded(settings(bastion), "localhost", echo) as tunnel:
        found = failure(tunnel)
    assert isinstance(found, ConfigError)
    assert "AllowTcpForwarding yes" in str(found)


def test_a_closed_port_behind_the_server_may_be_a_restart(bastion):
    with forwarded(settings(bastion), "127.0.0.1", 1) as tunnel:
        found = failure(tunnel)
    assert isinstance(found, TransientError)
    assert "can't reach 127.0.0.1:1 from SSH server 127.0.0.1" in str(found)


def test_a_host_that_the_server_doesnt_know_is_named(bastion):
    with forwarded(settings(bastion), "db.invalid", 5432) as tunnel:
        assert "can't reach db.invalid:5432 from SSH server" in str(failure(tunnel))


def test_the_host_key_of_the_config_is_the_only_one_accepted(bastion, echo):
    for right in (bastion.host_key, bastion.host_key + " comment", bastion.fingerprint):
        given = settings(bastion, hostKey=right)
        with forwarded(given, "localhost", echo) as tunnel, dialled(tunnel) as connection:
            assert echoed(connection, b"x") == b"x"
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    for wrong in (other, "SHA256:nothing"):
        with forwarded(settings(bastion, hostKey=wrong), "localhost", echo) as tunnel:
            found = failure(tunnel)
        assert isinstance(found, ConfigError)
        assert "its host key isn't the one expected" in str(found)


def test_a_host_key_met_first_stays_the_only_one(bastion, echo):
    with forwarded(settings(bastion), "localhost", echo) as tunnel:
        with dialled(tunnel) as connection:
            assert echoed(connection, b"x") == b"x"
        bastion.stop()
        bastion.change_key()
        bastion.start()
        assert "someone may be in between" in str(failure(tunnel))


def test_specs_of_the_incumbent_are_read():
    raw = b"""{"networkTunnel": {"sshForwarding": {"sshEndpoint": "ssh://me@[::1]:2222",
        "privateKey": "k"}}}"""
    config = parse(Config, raw, "endpoint config")
    assert config.network_tunnel is not None
    assert config.network_tunnel.ssh_forwarding is not None
    assert config.network_tunnel.ssh_forwarding.login == ("me", "::1", 2222)
    assert parse(Config, b'{"networkTunnel": null}', "c").network_tunnel is None
    blank = b'{"networkTunnel": {"sshForwarding": {"sshEndpoint": "", "privateKey": ""}}}'
    assert parse(Config, blank, "endpoint config").network_tunnel == NetworkTunnel()
    with pytest.raises(ConfigError, match="is no SSH endpoint: write ssh://user@host"):
        parse(Config, raw.replace(b"[::1]:2222", b"host:port"), "endpoint config")
