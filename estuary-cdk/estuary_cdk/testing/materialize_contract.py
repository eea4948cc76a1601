"""What every materialization promises, as checks that run against any.

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    async def test_it_keeps(promise, tmp_path):
        await promise(Subject(materialization=..., config=b"...", ...))

A check takes one fresh `Subject`: a destination that nobody used before. It fails with an
AssertionError or with whatever the connector raises.
"""

from collections.abc import Mapping
from typing import Final

from estuary_cdk.testing.materialize_crashes import CRASHES
from estuary_cdk.testing.materialize_subject import Promise, Subject
from estuary_cdk.testing.materialize_tables import TABLES
from estuary_cdk.testing.materialize_values import VALUE_PROMISES

PROMISES: Final[tuple[Promise, ...]] = (*TABLES, *VALUE_PROMISES, *CRASHES)

# Both ways of deleting keep every promise; the two that take long are tried in one way each.
_LONG: Final = {"survives_crashes": True, "takes_many_keys": False}
BOTH_WAYS: Final[Mapping[str, tuple[Promise, bool]]] = {
    f"{promise.__name__}-{'hard' if hard else 'soft'}": (promise, hard)
    for promise in PROMISES
    for hard in (False, True)
    if _LONG.get(promise.__name__, hard) is hard
}
"""By name, the promises and whether the subject is to delete the rows of deleted documents."""

__all__ = ["BOTH_WAYS", "PROMISES", "Promise", "Subject"]
