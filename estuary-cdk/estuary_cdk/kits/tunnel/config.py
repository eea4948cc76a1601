"""The settings of a tunnel, by the names that specs have used all along."""

import re
from typing import Any, Final

from pydantic import field_validator, model_validator

from estuary_cdk.config import Secret, Settings, setting

SSH_PORT: Final = 22
_ENDPOINT: Final = re.compile(r"ssh://([^@]+)@(?:\[([^\]]+)\]|([^:@/]+))(?::(\d+))?/?")


class SshForwarding(Settings):
    """An SSH server that can reach the host, and the key to log in to it with."""

    ssh_endpoint: str = setting(
        alias="sshEndpoint",
        title="SSH Endpoint",
        description="The SSH server to go through: ssh://user@host or ssh://user@host:port.",
        pattern="^ssh://.+@.+$",
    )
    private_key: Secret = setting(
        alias="privateKey",
        title="SSH Private Key",
        description="The whole private key, as PEM or in OpenSSH's format, without a passphrase.",
        multiline=True,
    )
    host_key: str = setting(
        "",
        alias="hostKey",
        title="SSH Host Key",
        description="The SSH server's public key, or its fingerprint (SHA256:…): no other is "
        "accepted. Left empty, the key met first is.",
    )

    @field_validator("ssh_endpoint")
    @classmethod
    def _an_endpoint(cls, endpoint: str) -> str:
        if not _ENDPOINT.fullmatch(endpoint.strip()):
            raise ValueError(
                f"{endpoint!r} is no SSH endpoint: write ssh://user@host or ssh://user@host:port"
            )
        return endpoint.strip()

    @property
    def login(self) -> tuple[str, str, int]:
        """User, host and port of the SSH server."""
        found = _ENDPOINT.fullmatch(self.ssh_endpoint)
        assert found is not None
        return found[1], found[2] or found[3], int(found[4] or SSH_PORT)


class NetworkTunnel(Settings):
    """How to reach a host that can't be dialled from here."""

    ssh_forwarding: SshForwarding | None = setting(
        None,
        alias="sshForwarding",
        title="SSH Forwarding",
        description="Go through an SSH server.",
    )

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, value: Any) -> Any:
        """Take a form that was opened but not filled in as none."""
        if isinstance(value, dict) and value.get("sshForwarding") is not None:
            forwarding = value["sshForwarding"]
            if isinstance(forwarding, dict) and not any(forwarding.values()):
                return {name: each for name, each in value.items() if name != "sshForwarding"}
        return value


def network_tunnel_setting() -> NetworkTunnel | None:
    """Declare the setting `network_tunnel: NetworkTunnel | None` of an endpoint config."""
    found: NetworkTunnel | None = setting(
        None,
        alias="networkTunnel",
        title="Network Tunnel",
        description="Connect through an SSH server that acts as a bastion host of the network.",
        advanced=True,
    )
    return found
