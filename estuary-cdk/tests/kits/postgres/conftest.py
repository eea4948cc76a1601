"""Clusters with passwords, and with certificates of an authority of the tests' own."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pytest
import trustme

from estuary_cdk.config import Secret
from estuary_cdk.kits.postgres import Server, TlsSettings, UserPassword, connect
from estuary_cdk.testing.postgres import Cluster, binaries, postgres

DEBIAN = 15


@dataclass(frozen=True)
class Guarded:
    """A cluster whose user `reader` needs a password, and how that user reaches it."""

    cluster: Cluster
    server: Server

    def asked(self, **how) -> Server:
        return replace(self.server, **how)

    def run(self, *statements: str):
        return self.cluster.execute(*statements)


def reader(cluster: Cluster, host: str = "127.0.0.1") -> Server:
    return Server(
        address=f"{host}:{cluster.port}",
        database="postgres",
        user="reader",
        credentials=UserPassword(password=Secret("right")),
    )


@pytest.fixture(scope="session")
def guarded() -> Iterator[Guarded]:
    """A server without TLS."""
    with postgres() as cluster:
        cluster.execute(
            "create role reader login password 'right'",
            "create role locked",
            "create database private",
            "revoke connect on database private from public",
            "create database closed allow_connections false",
            "create role few login connection limit 0 password 'right'",
        )
        cluster.admit(
            "host all reader 127.0.0.1/32 scram-sha-256",
            "host all stranger 127.0.0.1/32 reject",
            "host postgres absent 127.0.0.1/32 trust",
        )
        yield Guarded(cluster, reader(cluster))


@dataclass(frozen=True)
class Encrypted(Guarded):
    """A server with a certificate for `localhost`, which asks user `certified` for one too."""

    authority: trustme.CA

    @property
    def trusted(self) -> str:
        return self.authority.cert_pem.bytes().decode()

    def tls(self, **settings: object) -> Server:
        return self.asked(tls=TlsSettings.model_validate(settings))

    def used(self, server: Server) -> bool:
        """Tell whether a session is encrypted."""
        with connect(server) as connection:
            query = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
            [(ssl,)] = connection.execute(query.encode()).fetchall()
            return ssl


@pytest.fixture(scope="session")
def encrypted() -> Iterator[Encrypted]:
    if binaries(DEBIAN) is None and not os.environ.get("CI"):
        pytest.skip("needs a server with TLS: apt-get install postgresql-15")
    authority = trustme.CA()
    with postgres(DEBIAN) as cluster:
        issued = authority.issue_cert("localhost")
        install(
            cluster,
            {
                "server.crt": issued.cert_chain_pems[0].bytes(),
                "server.key": issued.private_key_pem.bytes(),
                "clients.crt": authority.cert_pem.bytes(),
            },
        )
        cluster.execute(
            "create role reader login password 'right'",
            "create role certified login",
            "alter system set ssl_ca_file = 'clients.crt'",
            "alter system set ssl = on",
        )
        cluster.admit(
            "hostssl all certified 127.0.0.1/32 cert",
            "hostssl all reader 127.0.0.1/32 scram-sha-256",
            "hostnossl postgres reader 127.0.0.1/32 scram-sha-256",
        )
        yield Encrypted(cluster, reader(cluster, "localhost"), authority)


def install(cluster: Cluster, files: Mapping[str, bytes]) -> None:
    """Put files into the server's directory, as its own."""
    data = cluster.directory / "data"
    owner = data.stat()
    for name, content in files.items():
        path = data / name
        path.touch(mode=0o600)
        path.write_bytes(content)
        shutil.chown(path, owner.st_uid, owner.st_gid)
