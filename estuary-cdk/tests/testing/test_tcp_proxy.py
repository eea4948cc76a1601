"""The proxy does to connections what it is told to, and nothing otherwise."""

import socket
import threading

import pytest

from estuary_cdk.testing.patience import HANGS_S
from estuary_cdk.testing.tcp_proxy import tcp_proxy


@pytest.fixture
def proxy():
    """A proxy to a server that repeats what it is told."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def repeat(connection: socket.socket) -> None:
            with connection:
                try:
                    while data := connection.recv(1 << 16):
                        connection.sendall(data)
                except OSError:
                    return

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=repeat, args=[connection], daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        with tcp_proxy("127.0.0.1", listener.getsockname()[1]) as running:
            yield running
        listener.shutdown(socket.SHUT_RDWR)


def dial(proxy) -> socket.socket:
    host, _, port = proxy.address.partition(":")
    return socket.create_connection((host, int(port)), timeout=HANGS_S)


def received(connection, data: bytes) -> bytes:
    """Send, and return what comes back until it is all or the connection ends."""
    got = b""
    try:
        connection.sendall(data)
        while len(got) < len(data) and (more := connection.recv(1 << 16)):
            got += more
    except ConnectionError:
        pass
    return got


def test_bytes_go_through(proxy):
    data = bytes(range(256)) * 100
    with dial(proxy) as one, dial(proxy) as two:
        assert received(one, data) == data
        assert received(two, b"x") == b"x"
    assert proxy.count == 2


def test_a_connection_is_cut_after_so_many_bytes(proxy):
    proxy.cuts = lambda: 1000
    with dial(proxy) as connection:
        assert received(connection, bytes(5000)) in {bytes(1000), b""}
        assert received(connection, b"x") == b""


def test_dropped_connections_end_and_new_ones_live(proxy):
    with dial(proxy) as connection:
        assert received(connection, b"x") == b"x"
        assert proxy.drop() == 1
        assert received(connection, b"x") == b""
    with dial(proxy) as connection:
        assert received(connection, b"y") == b"y"


def test_a_stalled_connection_is_silent_until_it_is_resumed(proxy):
    with dial(proxy) as connection:
        proxy.stall()
        connection.settimeout(0.1)
        connection.sendall(b"x")
        with pytest.raises(TimeoutError):
            connection.recv(1)
        proxy.resume()
        connection.settimeout(HANGS_S)
        assert connection.recv(1) == b"x"


def test_a_half_closed_connection_still_takes_bytes(proxy):
    with dial(proxy) as connection:
        assert received(connection, b"x") == b"x"
        proxy.half_close()
        assert connection.recv(1) == b""
        connection.sendall(b"y")


def test_a_stopped_proxy_refuses_and_comes_back_where_it_was(proxy):
    address = proxy.address
    proxy.stop()
    with pytest.raises(ConnectionRefusedError):
        dial(proxy)
    proxy.start()
    assert proxy.address == address
    with dial(proxy) as connection:
        assert received(connection, b"x") == b"x"
