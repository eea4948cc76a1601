"""PostgreSQL for connectors: addresses, credentials, TLS, connections, and what refusals mean.

An endpoint config puts the parts together:

    class Advanced(TlsSettings): ...

    class Config(EndpointConfig):
        address: Address = setting(...)
        credentials: Credentials = credentials_setting()
        advanced: Advanced = setting(...)

        @model_validator(mode="before")
        @classmethod
        def _shaped(cls, value: Any) -> Any:
            return with_credentials(value)

Needs psycopg: pip install 'estuary-cdk[postgres]'.
"""

from estuary_cdk.kits.postgres.address import PORT, Address, checked, host_and_port
from estuary_cdk.kits.postgres.connecting import (
    APPLICATION_NAME,
    CONNECT_TIMEOUT_S,
    Server,
    connect,
    dialling,
)
from estuary_cdk.kits.postgres.credentials import (
    AwsIam,
    AzureIam,
    Credentials,
    GcpIam,
    UserPassword,
    credentials_setting,
    with_credentials,
)
from estuary_cdk.kits.postgres.refusals import explained, translated
from estuary_cdk.kits.postgres.tls import SslMode, TlsSettings
from estuary_cdk.kits.postgres.way import Way

__all__ = [
    "APPLICATION_NAME",
    "CONNECT_TIMEOUT_S",
    "PORT",
    "Address",
    "AwsIam",
    "AzureIam",
    "Credentials",
    "GcpIam",
    "Server",
    "SslMode",
    "TlsSettings",
    "UserPassword",
    "Way",
    "checked",
    "connect",
    "credentials_setting",
    "dialling",
    "explained",
    "host_and_port",
    "translated",
    "with_credentials",
]
