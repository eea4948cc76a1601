"""Capture tables of PostgreSQL: their rows, and then every change, read from its log."""

from source_postgres.connector import capture

__all__ = ["capture"]
