"""A private OpenSSH server for tests, which serves files over SFTP on a loopback port.

    with sshd(directory) as server:
        dial(server.address, server.user, server.private_key)

Debian's package openssh-server has it. It runs as the user of the tests, the only one who may log
in, by key alone: passwords are the system's, which tests have no part in. `ssh` is a server that
takes one.
"""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Final

import asyncssh

from estuary_cdk.errors import ConfigError

HOST: Final = "127.0.0.1"
PROGRAMS: Final = "/usr/local/sbin:/usr/sbin:/sbin"
SUBSYSTEMS: Final = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")
PRIVILEGES: Final = Path("/run/sshd")
STARTS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Sshd:
    """A running server. `private_key` logs `user` in; `host_key` is the server's, in public."""

    files: Path
    address: str
    user: str
    private_key: str
    host_key: str
    fingerprint: str


def program() -> str | None:
    """Return where the server's program is; None where there is none."""
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{PROGRAMS}"
    return shutil.which("sshd", path=path) if _subsystem() else None


@contextmanager
def sshd(files: Path, directory: Path) -> Iterator[Sshd]:
    """Serve the files of this machine for the block; `directory` is an empty one to work in.

    What is to be served is below `files`. Raises ConfigError where no server is installed.
    """
    binary = program()
    if binary is None:
        raise ConfigError("can't start sshd: there is none", hint="apt-get install openssh-server")
    own, clients = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    _write(directory / "host_key", own.export_private_key())
    _write(directory / "clients", clients.export_public_key())
    if os.getuid() == 0:
        PRIVILEGES.mkdir(mode=0o755, exist_ok=True)  # as the system's own service does
    user = pwd.getpwuid(os.getuid()).pw_name
    process, port = _started(binary, directory, user)
    with process:
        try:
            yield Sshd(
                files,
                f"{HOST}:{port}",
                user,
                clients.export_private_key().decode(),
                own.export_public_key().decode().strip(),
                own.get_fingerprint(),
            )
        finally:
            process.terminate()


def _started(binary: str, directory: Path, user: str) -> tuple["subprocess.Popen[str]", int]:
    said: list[str] = []
    for _ in range(STARTS_MAX):
        port = _free_port()
        settings = directory / "sshd_config"
        _write(settings, _settings(directory, port, user).encode())
        process = subprocess.Popen(
            [binary, "-D", "-e", "-f", settings],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("Server listening"):
                # It logs every connection; a full pipe would stop it.
                Thread(target=process.stderr.read, daemon=True).start()
                return process, port
            said.append(line)
        process.wait()
    raise subprocess.SubprocessError(f"sshd doesn't start: {''.join(said)}")


def _settings(directory: Path, port: int, user: str) -> str:
    return f"""
ListenAddress {HOST}
Port {port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/clients
PidFile {directory}/pid
AllowUsers {user}
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
MaxStartups 100
MaxSessions 100
Subsystem sftp {_subsystem()}
"""


def _subsystem() -> str | None:
    return next((each for each in SUBSYSTEMS if Path(each).exists()), None)


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
