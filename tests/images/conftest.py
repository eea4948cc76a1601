"""Images for the tests, built as users build them; once, however many processes run the tests."""

import fcntl
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from flow_local.connectors import containers, engines

ROOT = Path(__file__).resolve().parents[2]
SETUP = Path(__file__).with_name("setup.sh")
UNAVAILABLE = 3
Build = Callable[[str], str]


def trusting() -> dict[str, str]:
    """Return the environment with the authorities that the other tests do without."""
    known = {name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"}
    return known | ({"SSL_CERT_FILE": known["CA_BUNDLE"]} if "CA_BUNDLE" in known else {})


@pytest.fixture(scope="session")
def base_image() -> str:
    made = subprocess.run([SETUP], env=trusting(), capture_output=True, text=True, check=False)
    if made.returncode == UNAVAILABLE and os.environ.get("CI") != "true":
        pytest.skip(made.stderr.strip().splitlines()[-1])
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture(scope="session")
def engine(base_image) -> engines.Engine:
    return engines.engine()


@pytest.fixture(scope="session")
def build(base_image, tmp_path_factory, worker_id) -> Build:
    """Build a connector's image, if this run of the tests hasn't yet; returns its name."""
    shared = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        shared = shared.parent

    def built(connector: str) -> str:
        with (shared / f"{connector}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = shared / f"{connector}.image"
            if not done.exists():
                script = [ROOT / "build-local-python.sh", connector]
                environment = {**trusting(), "BASE_IMAGE": base_image}
                ended = subprocess.run(
                    script, env=environment, capture_output=True, text=True, check=False
                )
                assert ended.returncode == 0, ended.stderr
                done.write_text(ended.stdout.strip())
            return done.read_text()

    return built


@pytest.fixture(scope="session")
def run_options(engine) -> Callable[[str], list[str]]:
    """Tell how this machine's engine runs an image: its command up to the image's name."""

    def options(image: str) -> list[str]:
        terms = containers.terms(engine, image, ())
        return [
            *(engine.program, *terms.engine, "run", "--rm", "--interactive"),
            *("--network", "host", *terms.run),
        ]

    return options


@pytest.fixture(scope="session")
def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)
