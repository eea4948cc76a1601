"""Capture tables of PostgreSQL: their rows, and then every change, read from its log."""

from typing import TYPE_CHECKING

from estuary_cdk.exports import exports

if TYPE_CHECKING:
    from source_postgres.connector import capture

__all__ = ["capture"]

__getattr__ = exports(__name__, {"connector": ("capture",)})
