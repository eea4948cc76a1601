"""One service for all tests of a run, and a dataset of its own for each."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from estuary_cdk.testing.bigquery import BigQuery, bigquery

sys.path.insert(0, str(Path(__file__).parent))

from bigquery_place import LIVE_CONFIG, Dataset, emulated, live


@pytest.fixture(scope="session", name="service")
def running_service() -> Iterator[BigQuery]:
    with bigquery() as running:
        yield running


@pytest.fixture(params=["emulator", pytest.param("live", marks=pytest.mark.live)])
def dataset(request: pytest.FixtureRequest) -> Iterator[Dataset]:
    """A dataset that goes when the test is over; `-m live` for one of the real service."""
    if request.param == "live":
        with live(os.environ[LIVE_CONFIG]) as made:
            yield made
        return
    service: BigQuery = request.getfixturevalue("service")
    service.forget()
    with emulated(service) as made:
        yield made
    service.forget()
    service.run_long(0)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is for the real service, unless its credentials are there."""
    if LIVE_CONFIG in os.environ:
        return
    here = Path(__file__).parent
    live = [i for i in items if i.get_closest_marker("live") and i.path.is_relative_to(here)]
    if live:
        config.hook.pytest_deselected(items=live)
        items[:] = [item for item in items if item not in live]
