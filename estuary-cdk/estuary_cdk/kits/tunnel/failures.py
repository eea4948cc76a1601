"""What goes wrong on the way through an SSH server, as errors that say whose move it is."""

import socket

import asyncssh

from estuary_cdk.config import Secret
from estuary_cdk.errors import CdkError, ConfigError, TransientError
from estuary_cdk.kits.tunnel.config import SshForwarding


def private_key(secret: Secret, setting: str = "privateKey") -> asyncssh.SSHKey:
    """Read the key of a config; raises ConfigError that says what it is instead."""
    text = secret.get_secret_value().strip() + "\n"
    try:
        return asyncssh.import_private_key(text)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        reason, hint = _unreadable(text, str(error))
        raise ConfigError(f"can't use {setting}: {reason}", hint=hint) from error


def is_trusted(key: asyncssh.SSHKey, expected: str) -> bool:
    """Tell whether a server's key is the expected one: a public key, or its fingerprint."""
    if expected.startswith("SHA256:"):
        return expected.rstrip("=") == key.get_fingerprint().rstrip("=")
    return key.export_public_key().decode().split()[:2] == expected.split()[:2]


def _unreadable(text: str, said: str) -> tuple[str, str]:
    if text.startswith("PuTTY"):
        return "it is in PuTTY's format", "puttygen key.ppk -O private-openssh -o key"
    if text.startswith(("ssh-", "ecdsa-", "---- BEGIN SSH2 PUBLIC", "-----BEGIN PUBLIC")):
        return "it is a public key", "paste the file without .pub"
    if "assphrase" in said:
        return "it is protected by a passphrase", "ssh-keygen -p -f key -N ''"
    return (
        f"it isn't a whole private key: {said}",
        "paste all of the file, from -----BEGIN to END-----, with its line breaks",
    )


def unreached(
    error: BaseException,
    login: tuple[str, str, int],
    key: asyncssh.SSHKey | None,
    setting: str = "sshEndpoint",
) -> CdkError:
    """Return what it means that no connection to the SSH server came about.

    `login` is user, host and port; without a `key`, a password was tried; `setting` is the name of
    the setting that has the address.
    """
    user, host, port = login
    verb = f"can't connect to SSH server {host}:{port}"
    match error:
        case asyncssh.PermissionDenied() if key is None:
            return ConfigError(
                f"{verb}: it doesn't accept the password of user {user!r}",
                hint="check username and password",
            )
        case asyncssh.PermissionDenied():
            assert key is not None
            public = key.export_public_key().decode().strip()
            return ConfigError(
                f"{verb}: it doesn't accept the key for user {user!r}",
                hint=f"add to ~{user}/.ssh/authorized_keys there: {public}",
            )
        case asyncssh.HostKeyNotVerifiable():
            return ConfigError(
                f"{verb}: its host key isn't the one expected: someone may be in between",
                hint="if the server was set up anew, correct hostKey",
            )
        case asyncssh.KeyExchangeFailed() | asyncssh.ProtocolNotSupported():
            return ConfigError(
                f"{verb}: {error.reason}", hint="its algorithms are too old: update it"
            )
        case asyncssh.ProtocolError():
            return ConfigError(
                f"{verb}: what answers there isn't an SSH server", hint=f"check {setting}"
            )
        case socket.gaierror() if error.errno != socket.EAI_AGAIN:
            return ConfigError(f"{verb}: there is no host of that name", hint=f"check {setting}")
        case ConnectionRefusedError():
            return TransientError(
                f"{verb}: nothing answers at that port", hint=f"check {setting} and firewalls"
            )
        case TimeoutError():
            return TransientError(
                f"{verb}: it doesn't answer",
                hint=f"check {setting}, and that its firewall lets the connector in",
            )
        case asyncssh.DisconnectError():
            return TransientError(f"{verb}: {error.reason or 'the connection was lost'}")
        case _:
            return TransientError(f"{verb}: {' '.join(str(error).split()) or type(error).__name__}")


def unforwarded(
    error: asyncssh.ChannelOpenError, settings: SshForwarding, host: str, port: int
) -> CdkError:
    """Return what it means that the SSH server doesn't lead on to a host."""
    verb = f"can't reach {host}:{port} from SSH server {settings.login[1]}"
    if error.code == asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED:
        return ConfigError(
            f"{verb}: it doesn't allow forwarding",
            hint="set AllowTcpForwarding yes in its sshd_config (and PermitOpen, if it is there)",
        )
    reason = error.reason.strip()
    lowered = reason.lower()
    if "name or service" in lowered or "not known" in lowered or "getaddrinfo" in lowered:
        return ConfigError(f"{verb}: it knows no host of that name", hint="check the address")
    return TransientError(
        f"{verb}: {reason or 'no connection'}",
        hint="check the address, and that the server there listens and lets the SSH server in",
    )


def lost(error: BaseException | None, settings: SshForwarding) -> CdkError:
    """Return what it means that a connection to the SSH server ended."""
    _, host, port = settings.login
    why = " ".join(str(error).split()) if error else "it was closed"
    return TransientError(f"can't keep the tunnel through SSH server {host}:{port}: {why}")
