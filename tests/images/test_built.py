"""What build-local-python.sh builds: looked at and run with the engine alone, as Flow would."""

import signal
import subprocess

import msgspec
import pytest

from estuary_cdk.testing.patience import HANGS_S

pytestmark = pytest.mark.images
CONNECTORS = {
    "source-http": "capture",
    "materialize-sqlite": "materialize",
    "materialize-postgres": "materialize",
    "materialize-bigquery": "materialize",
}


@pytest.fixture(params=sorted(CONNECTORS), scope="module")
def connector(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def image(connector, build) -> str:
    return build(connector)


@pytest.fixture
def config(engine, image) -> dict:
    return msgspec.json.decode(engine.ask("image", "inspect", image).out)[0]["Config"]


def test_the_image_is_tagged_as_flows_own(connector, image):
    assert image == f"ghcr.io/estuary/{connector}:local"


def test_labels_tell_flow_how_to_speak_with_it(connector, config):
    assert config["Labels"]["FLOW_RUNTIME_PROTOCOL"] == CONNECTORS[connector]
    assert config["Labels"]["FLOW_RUNTIME_CODEC"] == "json"
    assert float(config["Labels"]["dev.estuary.usage-rate"]) >= 0


def test_the_entry_point_is_the_connector_without_a_shell(config):
    [program] = config["Entrypoint"]
    assert program.startswith("/")
    assert not config.get("Cmd")


def test_the_connector_is_not_root_and_its_user_has_a_name(image, run_options):
    command = [*run_options(image), "--entrypoint", "id", image]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.startswith("uid=10001(connector) gid=10001(connector)")


def test_nothing_that_installs_and_nothing_of_the_building_machine_is_left(image, run_options):
    look = "ls /run/secrets /etc/pip.conf /src /opt/connector/bin/pip; find / -xdev -name poetry*"
    command = [*run_options(image), "--entrypoint", "sh", image, "-c", look]
    assert not subprocess.run(command, capture_output=True, check=False).stdout


def test_every_package_has_the_version_that_everyone_has(image, run_options, constraints):
    script = (
        "from importlib.metadata import distributions as all\n"
        "for each in all(path=[__import__('sysconfig').get_path('purelib')]):\n"
        "    print(each.metadata['Name'], each.version)"
    )
    command = [*run_options(image), "--entrypoint", "python3", image, "-c", script]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = dict(line.lower().replace("_", "-").split() for line in said.splitlines())
    ours = {name for name in found if name.startswith(("estuary-", "source-", "materialize-"))}
    assert len(ours) == 2
    assert {name: found[name] for name in found.keys() - ours}.items() <= constraints.items()


def test_it_answers_on_a_pipe(image, run_options):
    command = [*run_options(image), image]
    ended = subprocess.run(command, input=b'{"spec":{}}\n', capture_output=True, check=True)
    [line] = ended.stdout.splitlines()
    assert msgspec.json.decode(line)["spec"]["protocol"]


def test_a_signal_ends_it_promptly(image, run_options):
    running = subprocess.Popen(
        [*run_options(image), image],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with running:
        running.stdin.write(b'{"spec":{}}\n')
        running.stdin.flush()
        assert running.stdout.readline()
        running.send_signal(signal.SIGTERM)
        # Its stdin is still open: only the signal can have ended it.
        assert running.wait(HANGS_S) == 1
        assert b"stopped by a signal" in running.stderr.read()
