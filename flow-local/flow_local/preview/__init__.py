"""Previews: one task against its real connector, its output on lines, nothing kept."""

from flow_local.preview.captures import CapturePreview
from flow_local.preview.feeds import CollectionsFeed, Feed, FixtureFeed
from flow_local.preview.fixtures import Fixture, fixture, inferred
from flow_local.preview.lines import final_state_line
from flow_local.preview.materializations import MaterializationPreview
from flow_local.preview.plans import UNLIMITED, Plan, Preview

__all__ = [
    "UNLIMITED",
    "CapturePreview",
    "CollectionsFeed",
    "Feed",
    "Fixture",
    "FixtureFeed",
    "MaterializationPreview",
    "Plan",
    "Preview",
    "final_state_line",
    "fixture",
    "inferred",
]
