import pytest

from estuary_cdk.errors import DataError, TransientError
from flow_local.connectors.failures import connector_failed
from flow_local.supervisor import Restarts

KILLED = connector_failed("acme/x", "capture", -9, "")
EXITED = connector_failed("acme/x", "capture", 1, "no such host")


@pytest.mark.parametrize(
    ("error", "until_idle", "restarted"),
    [
        (TransientError("can't reach it"), True, True),
        (KILLED, True, True),
        (EXITED, True, False),
        (EXITED, False, True),
        (DataError("can't use it"), False, False),
        (AssertionError(), False, False),
    ],
)
def test_failures_that_may_pass_are_restarted_after(error, until_idle, restarted):
    assert (Restarts().delay(error, 1, until_idle=until_idle) is not None) == restarted


def test_delays_double_up_to_a_limit_and_then_it_is_enough():
    policy = Restarts(in_a_row_max=5, delay_s=1, delay_s_max=6)
    assert [policy.delay(KILLED, n, until_idle=True) for n in range(1, 7)] == [1, 2, 4, 6, 6, None]
