"""How a connection is encrypted and the server verified: libpq's modes, certificates as text."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

from pydantic import field_validator, model_validator

from estuary_cdk.config import Secret, Settings, setting
from estuary_cdk.errors import ConfigError

SslMode = Literal["", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
VERIFYING: Final = ("verify-ca", "verify-full")

# Where distributions keep the certificates they trust, if OpenSSL's own idea of it is wrong.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
)


class TlsSettings(Settings):
    """The advanced settings of a connection's encryption."""

    sslmode: SslMode = setting(
        "",
        title="SSL Mode",
        description="Overrides how the connection is encrypted and the server verified.",
    )
    ssl_server_ca: str = setting(
        "",
        title="SSL Server CA",
        description="Certificates, as PEM, that verify-ca and verify-full trust in place of the "
        "system's.",
        multiline=True,
    )
    ssl_client_cert: str = setting(
        "",
        title="SSL Client Certificate",
        description="A certificate, as PEM, for servers that ask their clients for one.",
        multiline=True,
    )
    ssl_client_key: Secret | None = setting(
        None,
        title="SSL Client Key",
        description="The private key, as PEM, of the client certificate.",
        multiline=True,
    )

    @field_validator("ssl_server_ca")
    @classmethod
    def _certificates(cls, pem: str) -> str:
        if pem.strip():
            try:
                ssl.create_default_context(cadata=pem)
            except ssl.SSLError as error:
                raise ValueError(
                    "it holds no certificates: paste them whole, from -----BEGIN CERTIFICATE----- "
                    "to -----END CERTIFICATE-----"
                ) from error
        return pem.strip()

    @model_validator(mode="after")
    def _paired(self) -> "TlsSettings":
        if bool(self.ssl_client_cert.strip()) != bool(self.ssl_client_key):
            raise ValueError("ssl_client_cert and ssl_client_key are of use only together")
        return self


@contextmanager
def tls_parameters(settings: TlsSettings, *, required: bool = False) -> Iterator[dict[str, str]]:
    """Give libpq's parameters for these settings; their files last as long as the block.

    With `required` a connection without encryption is out of the question, whatever the default.
    """
    mode: str = settings.sslmode or ("require" if required else "")
    given: dict[str, str] = {"sslmode": mode} if mode else {}
    with TemporaryDirectory(prefix="tls-") as folder:
        if settings.ssl_server_ca:
            given["sslrootcert"] = _written(Path(folder, "ca.pem"), settings.ssl_server_ca)
        elif mode in VERIFYING:
            given["sslrootcert"] = _system_roots()
        else:
            # libpq would verify against a file in the home directory, if there happens to be one.
            given["sslrootcert"] = str(Path(folder, "none"))
        if settings.ssl_client_key is not None:
            key = settings.ssl_client_key.get_secret_value()
            given["sslcert"] = _written(Path(folder, "client.pem"), settings.ssl_client_cert)
            given["sslkey"] = _written(Path(folder, "client.key"), key)
        yield given


def _written(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text.strip() + "\n", encoding="utf-8")
    return str(path)


def _system_roots() -> str:
    paths = ssl.get_default_verify_paths()
    for path in (paths.cafile, paths.openssl_cafile, *_BUNDLES):
        if path and Path(path).is_file():
            return path
    raise ConfigError(
        "can't verify the server: this system has no list of trusted certificates",
        hint="put the certificate of the server's CA into ssl_server_ca",
    )
