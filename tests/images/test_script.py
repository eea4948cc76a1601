"""build-local-python.sh with programs that only note what they are asked to build."""

import shutil
import subprocess
from pathlib import Path
from shlex import quote

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "ghcr.io/estuary/source-listens:local"
INDEX = "https://user:hunter2@packages.example.com/simple"
TOOLS = ("bash", "basename", "cat", "dirname", "grep", "mktemp", "readlink", "rm", "timeout", "tr")

# Notes its arguments and what it reads, and keeps the files that it is handed.
BUILDER = """#!/bin/sh
[ "$1" = build ] || exit 0
printf '%s\\n' "$0" "$@" > {home}/arguments
cat > {home}/recipe
for each; do
  case "$each" in
    id=*) name="${{each%%,*}}"; cp "${{each#*src=}}" "{home}/${{name#id=}}" ;;
  esac
done
echo "noise of the build"
"""


class Workshop:
    """A copy of what the script needs, a PATH of our own, and what an engine was asked."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.programs = folder / "programs"
        self.root = folder / "repository"
        for each in (self.home, self.programs, self.root / "estuary-cdk"):
            each.mkdir(parents=True)
        for tool in (*TOOLS, "cp"):
            (self.programs / tool).symlink_to(shutil.which(tool))
        shutil.copy(ROOT / "build-local-python.sh", self.root)
        shutil.copy(ROOT / "estuary-cdk/common.Dockerfile", self.root / "estuary-cdk")
        connector = self.root / "source-listens"
        connector.mkdir()
        (connector / "pyproject.toml").touch()
        (connector / "image.Dockerfile").write_text("EXPOSE 8080\n")

    def install(self, name: str, script: str = BUILDER) -> None:
        program = self.programs / name
        program.write_text(script.format(home=quote(str(self.home))))
        program.chmod(0o755)

    def build(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "build-local-python.sh", *arguments],
            env={"PATH": str(self.programs), "HOME": str(self.home)} | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def arguments(self) -> list[str]:
        return (self.home / "arguments").read_text().splitlines()

    def handed(self, name: str) -> str:
        return (self.home / name).read_text()


@pytest.fixture
def workshop(tmp_path) -> Workshop:
    return Workshop(tmp_path)


def test_the_name_of_the_image_is_all_that_is_written_to_stdout(workshop):
    workshop.install("docker")
    ended = workshop.build("source-listens/")
    assert (ended.returncode, ended.stdout) == (0, f"{IMAGE}\n")
    assert IMAGE in workshop.arguments


def test_docker_builds_when_its_daemon_answers(workshop):
    workshop.install("docker")
    workshop.install("podman")
    workshop.build("source-listens")
    assert workshop.arguments[0].endswith("/docker")


@pytest.mark.parametrize("other", ["podman", "buildah"])
def test_others_build_when_dockers_daemon_does_not_answer(workshop, other):
    workshop.install("docker", "#!/bin/sh\nexit 1\n")
    workshop.install(other)
    workshop.build("source-listens")
    assert workshop.arguments[0].endswith(f"/{other}")
    assert "chroot" in workshop.arguments


def test_without_an_engine_one_sentence_says_how_to_get_one(workshop):
    workshop.install("docker", "#!/bin/sh\nexit 1\n")
    ended = workshop.build("source-listens")
    assert ended.returncode == 1
    assert ended.stderr.startswith("can't build source-listens: no container engine answers")
    assert "apt-get install podman" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_connector_that_is_not_there_is_named(workshop):
    workshop.install("docker")
    ended = workshop.build("source-elsewhere")
    assert ended.returncode == 1
    assert "there is no source-elsewhere/pyproject.toml" in ended.stderr


def test_no_connector_is_a_question_of_usage(workshop):
    assert workshop.build().returncode == 2
    assert "usage: ./build-local-python.sh CONNECTOR" in workshop.build("flow-local").stderr


def test_where_a_connector_listens_is_part_of_its_image(workshop):
    workshop.install("docker")
    workshop.build("source-listens")
    assert workshop.handed("recipe").rstrip().endswith("EXPOSE 8080")


def test_the_base_image_can_be_another(workshop):
    workshop.install("docker")
    workshop.build("source-listens", BASE_IMAGE="localhost/python:mine")
    assert "BASE_IMAGE=localhost/python:mine" in workshop.arguments
    workshop.build("source-listens")
    assert not any("BASE_IMAGE" in each for each in workshop.arguments)
    assert "ARG BASE_IMAGE=docker.io/library/python:3.12-slim" in workshop.handed("recipe")


def test_package_indexes_are_secrets_of_the_build_and_nothing_else(workshop):
    workshop.install("docker")
    ended = workshop.build("source-listens", PIP_INDEX_URL=INDEX, PIP_CACHE_DIR="/mine")
    assert workshop.handed("index") == f"export PIP_INDEX_URL='{INDEX}'\n"
    everything = [*workshop.arguments, workshop.handed("recipe"), ended.stdout, ended.stderr]
    assert not any("hunter2" in each for each in everything)
    [secret] = [each for each in workshop.arguments if each.startswith("id=index,")]
    assert not Path(secret.partition("src=")[2]).exists()


def test_a_value_with_quotes_stays_a_value(workshop):
    workshop.install("docker")
    workshop.build("source-listens", PIP_PROXY="a'; touch /nowhere/x; '")
    shell = f'. {quote(str(workshop.home / "index"))} && printf %s "$PIP_PROXY"'
    said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    assert said.stdout == "a'; touch /nowhere/x; '"


def test_folders_of_this_machine_are_no_place_to_find_packages_in_another(workshop):
    workshop.install("docker")
    workshop.build("source-listens", PIP_FIND_LINKS="/opt/wheels https://example.com/wheels")
    assert workshop.handed("index") == "export PIP_FIND_LINKS='https://example.com/wheels '\n"
    workshop.build("source-listens", PIP_FIND_LINKS="/opt/wheels")
    assert workshop.handed("index") == ""


def test_the_users_configuration_of_pip_is_handed_over(workshop):
    workshop.install("docker")
    configuration = workshop.home / ".config/pip/pip.conf"
    configuration.parent.mkdir(parents=True)
    configuration.write_text("[global]\nindex-url = https://example.com\n")
    workshop.build("source-listens")
    assert workshop.handed("pip-user") == configuration.read_text()


def test_certificate_authorities_are_the_systems_or_those_named(workshop, tmp_path):
    bundle = tmp_path / "mine.crt"
    bundle.write_text("a certificate\n")
    workshop.install("docker")
    workshop.build("source-listens", CA_BUNDLE=str(bundle), SSL_CERT_FILE="/elsewhere.crt")
    assert workshop.handed("ca") == "a certificate\n"
    ended = workshop.build("source-listens", CA_BUNDLE="/nowhere.crt")
    assert ended.returncode == 1
    assert "CA_BUNDLE is /nowhere.crt, which can't be read" in ended.stderr
