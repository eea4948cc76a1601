"""Ways to hosts that can't be dialled from here: through an SSH server.

    class Config(EndpointConfig):
        network_tunnel: NetworkTunnel | None = network_tunnel_setting()

    with forwarded(config.network_tunnel, host, port) as tunnel:
        dialled = tunnel.entrance if tunnel else (host, port)

Needs asyncssh once a tunnel is configured: pip install 'estuary-cdk[ssh]'.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.tunnel.config import NetworkTunnel, SshForwarding, network_tunnel_setting

if TYPE_CHECKING:
    from estuary_cdk.kits.tunnel.forwarding import Tunnel


@contextmanager
def forwarded(settings: NetworkTunnel | None, host: str, port: int) -> Iterator["Tunnel | None"]:
    """Keep a tunnel to a host open for the block; None where the config has none.

    Raises ConfigError for a key that can't be read, or where asyncssh isn't installed. Whether the
    SSH server can be reached shows in the tunnel's `failure` once its entrance was dialled.
    """
    if settings is None or settings.ssh_forwarding is None:
        yield None
        return
    try:
        from estuary_cdk.kits.tunnel.forwarding import opened
    except ImportError as error:
        raise ConfigError(
            "can't open an SSH tunnel: it needs a library that isn't installed: asyncssh",
            hint="pip install 'estuary-cdk[ssh]'",
        ) from error
    with opened(settings.ssh_forwarding, host, port) as tunnel:
        yield tunnel


__all__ = ["NetworkTunnel", "SshForwarding", "forwarded", "network_tunnel_setting"]
