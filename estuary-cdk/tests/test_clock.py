"""The machine's clock keeps the contract of `Clock`."""

from datetime import UTC

from estuary_cdk.clock import Clock, SystemClock


async def test_the_system_clock_is_aware_in_utc_and_never_goes_back() -> None:
    clock: Clock = SystemClock()
    before = clock.monotonic()
    await clock.sleep(-1)
    assert clock.now().tzinfo is UTC
    assert clock.monotonic() >= before
