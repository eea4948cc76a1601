"""Serves a materialization: answers what is asked of it, then runs its transactions."""

from typing import Any

from estuary_cdk.materialize.materialization import Materialization
from estuary_cdk.transport import Reader, Writer


async def serve(materialization: Materialization[Any, Any], reader: Reader, writer: Writer) -> None:
    """Serve one conversation to its end."""
    raise NotImplementedError
