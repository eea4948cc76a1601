"""Capture files served over HTTP: each stream is one address, followed from version to version."""

from estuary_cdk.capture import Capture
from source_http.config import Config, Resource
from source_http.discovery import discover, validate
from source_http.following import State, pull

capture = Capture(
    config=Config,
    resource=Resource,
    state=State,
    discover=discover,
    validate=validate,
    pull=pull,
    path=["/stream"],
    docs="https://go.estuary.dev/source-http",
)

__all__ = ["capture"]
