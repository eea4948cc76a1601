"""What all tests share: how much properties are tried, what they start, and who begins first.

Properties are judged by what they find, never by how long they take. HYPOTHESIS_PROFILE=deep tries
them with twenty times as many examples.
"""

import os
import signal
import sys

import pytest
from hypothesis import HealthCheck, settings

# Tests that take long, the longest first: for minutes, or as long as processes take to come and go.
LONG = (
    "tests/crash/*.py",
    "source-postgres/tests/test_stress.py",
    "tests/images/test_integration_runs.py",
    "tests/test_integration_runs.py",
    "tests/test_docs.py",
    "cli/test_shop_demo.py",
)

ID_BYTES_MAX = 64

settings.register_profile(
    "house",
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.register_profile("deep", settings.get_profile("house"), max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "house"))

# Tests start a thousand processes: each would compile our code again where nothing may be kept, and
# each that speaks HTTP would read all authorities of the world, of which no test asks any.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
if os.environ.get("SSL_CERT_FILE") not in {None, os.devnull}:
    os.environ.setdefault("CA_BUNDLE", os.environ["SSL_CERT_FILE"])  # For images that are built.
os.environ["SSL_CERT_FILE"] = os.devnull
# Whoever starts tests in the background may ignore Ctrl-C, which our processes would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name what a file holds by its parameter: it may differ from worker to worker."""
    if isinstance(val, bytes) and (len(val) > ID_BYTES_MAX or b"\0" in val):
        return argname
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let each worker begin with tests that take long, lest all wait for these at the end.

    A worker is given its share of the tests in order, and steals from others when it is done.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers == 1:
        return
    long = [item for pattern in LONG for item in items if item.path.match(pattern)]
    chosen = set(long)
    rest = [item for item in items if item not in chosen]
    share = -(-len(rest) // workers)
    items[:] = [
        item
        for worker in range(workers)
        for part in (long[worker::workers], rest[worker * share : (worker + 1) * share])
        for item in part
    ]
