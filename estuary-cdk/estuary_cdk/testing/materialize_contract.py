"""What every materialization promises, as checks that run against any.

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    async def test_it_keeps(promise, tmp_path):
        await promise(Subject(materialization=..., config=b"...", ...))

A check takes one fresh `Subject`: a destination that nobody used before. It fails with an
AssertionError or with whatever the connector raises.
"""

from typing import Final

from estuary_cdk.testing.materialize_crashes import CRASHES
from estuary_cdk.testing.materialize_subject import Promise, Subject
from estuary_cdk.testing.materialize_tables import TABLES
from estuary_cdk.testing.materialize_values import VALUE_PROMISES

PROMISES: Final[tuple[Promise, ...]] = (*TABLES, *VALUE_PROMISES, *CRASHES)

__all__ = ["PROMISES", "Promise", "Subject"]
