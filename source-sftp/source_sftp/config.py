"""What users configure: the server, who logs in, which files, and how they are read."""

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import field_validator

from estuary_cdk.config import EndpointConfig, Secret, Settings, setting
from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.files import ParserOptions, Selection
from estuary_cdk.kits.files.choices import (
    Choice,
    Following,
    Pattern,
    advanced_setting,
    match_setting,
    parser_setting,
)

SSH_PORT = 22
ADDRESS = re.compile(r"(?:sftp://)?(?:\[([0-9a-fA-F:.]+)\]|([^\s:/@\[\]]+))(?::([0-9]{1,5}))?/?")


class SshKey(Settings):
    """A user name and a private key."""

    type: Literal["sshKey"] = setting("sshKey", title="Authentication Method")
    username: str = setting(title="Username", description="The user to log in as.")
    ssh_key: Secret = setting(
        alias="sshKey",
        title="SSH Key",
        description="The whole private key, as PEM or in OpenSSH's format, without a passphrase.",
        multiline=True,
    )


class Password(Settings):
    """A user name and a password."""

    type: Literal["password"] = setting("password", title="Authentication Method")
    username: str = setting(title="Username", description="The user to log in as.")
    password: Secret = setting(title="Password", description="The user's password.")


class Advanced(Following):
    """Rarely needed settings."""

    host_key: str = setting(
        "",
        alias="hostKey",
        title="Host Key",
        description="The server's public key, or its fingerprint (SHA256:…): no other is accepted. "
        "Left empty, the key met first is.",
    )


class Config(EndpointConfig):
    """A server and what is captured of it."""

    address: str = setting(
        title="Address", description="Host and port of the server, such as sftp.example.com:22."
    )
    credentials: SshKey | Password = setting(
        discriminator="type", title="Credentials", description="Who logs in, and with what."
    )
    directory: str = setting(
        title="Directory",
        description="The directory to capture. Files in directories below it are captured too.",
    )
    match_files: Pattern | None = match_setting("matchFiles")
    parser: ParserOptions = parser_setting()
    advanced: Advanced = advanced_setting(Advanced)

    @field_validator("address")
    @classmethod
    def _an_address(cls, address: str) -> str:
        if not ADDRESS.fullmatch(address.strip()):
            raise ValueError(f"{address!r} is no address: write host or host:port")
        return address.strip()

    @property
    def login(self) -> tuple[str, str, int]:
        """User, host and port."""
        found = ADDRESS.fullmatch(self.address)
        assert found is not None
        return self.credentials.username, found[1] or found[2], int(found[3] or SSH_PORT)

    @property
    def root(self) -> str:
        """The directory, with a slash at its end."""
        return self.directory.rstrip("/") + "/"


def streams(config: Config) -> Sequence[str]:
    """Return the names of the streams to discover: the directory."""
    return [config.root]


def selection(config: Config, stream: str) -> Selection:
    """Return which files a stream has: those below a directory; ConfigError for one outside."""
    directory = stream.rstrip("/") + "/"
    if not directory.startswith(config.root):
        raise ConfigError(
            f"can't capture stream {stream!r}: the config has directory {config.directory!r}",
            hint=f"a stream begins with {config.root!r}",
        )
    prefix = directory.removeprefix(config.root)
    return Choice(config.match_files, config.parser, config.advanced).below(prefix, config.root)
