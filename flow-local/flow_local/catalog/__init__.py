"""The catalog: what a flow.yaml and its files say, checked, with the place of every mistake."""

from flow_local.catalog.bundle import bundle
from flow_local.catalog.diagnostics import CatalogError, Diagnostics
from flow_local.catalog.discovered import Merged, write_discovered
from flow_local.catalog.discovery_plan import DiscoveredBinding
from flow_local.catalog.files import STDIN
from flow_local.catalog.loader import load
from flow_local.catalog.models import (
    AutoDiscover,
    Capture,
    CaptureBinding,
    Catalog,
    Collection,
    DekafEndpoint,
    Endpoint,
    FieldChoices,
    ImageEndpoint,
    IncompatibleSchemaChange,
    Ingest,
    LocalEndpoint,
    Materialization,
    MaterializationBinding,
    PartitionSelector,
    Projection,
    Shards,
    Source,
    SourceCapture,
    Step,
    Test,
    Verify,
)
from flow_local.catalog.nodes import Location
from flow_local.catalog.template import template

__all__ = [
    "STDIN",
    "AutoDiscover",
    "Capture",
    "CaptureBinding",
    "Catalog",
    "CatalogError",
    "Collection",
    "DekafEndpoint",
    "Diagnostics",
    "DiscoveredBinding",
    "Endpoint",
    "FieldChoices",
    "ImageEndpoint",
    "IncompatibleSchemaChange",
    "Ingest",
    "LocalEndpoint",
    "Location",
    "Materialization",
    "MaterializationBinding",
    "Merged",
    "PartitionSelector",
    "Projection",
    "Shards",
    "Source",
    "SourceCapture",
    "Step",
    "Test",
    "Verify",
    "bundle",
    "load",
    "template",
    "write_discovered",
]
