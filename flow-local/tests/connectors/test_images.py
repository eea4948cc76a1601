"""Image endpoints, with programs that answer as engines do; tests/images has real ones."""

import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from shlex import quote

import pytest

from estuary_cdk.errors import ConfigError, TransientError
from flow_local.connectors import containers, engines, image, images

IMAGE = "ghcr.io/acme/source-x:v1"

INSPECTED = '[{"Config": {"Entrypoint": ["/connector", "--serve"], "Cmd": ["sh"]}}]'
# What an engine is asked as the shell matches it, and its answer: status, stdout, stderr.
PRESENT = ("image inspect *", 0, INSPECTED, "")
RUNS = ("*/flow-local-probe*", 127, "", "executable file not found")


class Machine:
    """A PATH with the engines that a test installs, and what they were asked."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def install(self, name: str, *answers: tuple[str, int, str, str]) -> None:
        cases = "".join(
            f"{pattern.replace(' ', chr(92) + ' ')})\n"
            f"printf %s {quote(out)}\nprintf %s {quote(complaint)} >&2\nexit {status};;\n"
            for pattern, status, out, complaint in answers
        )
        program = self.home / name
        program.write_text(
            "#!/bin/sh\n"
            f"{{ printf '%s\\037' {name} \"$@\"; echo; }} >> {quote(str(self.home / 'asked'))}\n"
            f'case "$*" in\n{cases}esac\n'
        )
        program.chmod(0o755)

    def asked(self, command: str) -> list[list[str]]:
        lines = (self.home / "asked").read_text().splitlines()
        return [words for line in lines if command in (words := line.split("\x1f")[:-1])]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for variable in (engines.ENGINE_VARIABLE, containers.RUN_OPTIONS_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    return Machine(tmp_path)


def options(argv: tuple[str, ...], name: str) -> list[str]:
    return [after for before, after in pairwise(argv) if before == name]


def test_a_container_has_a_name_of_its_own_by_which_it_is_removed(machine):
    machine.install("podman", PRESENT, RUNS)
    endpoint = image(IMAGE, {"TOKEN": "secret"})
    argv, name = endpoint.named()
    other, _ = endpoint.named()
    assert options(argv, "--name") == [name]
    assert argv != other
    containers.remove(endpoint.engine, name)
    assert machine.asked("rm") == [["podman", "rm", "--force", "--time", "0", name]]


def test_values_of_the_environment_are_not_arguments(machine):
    machine.install("podman", PRESENT, RUNS)
    argv, _ = image(IMAGE, {"TOKEN": "secret"}).named()
    assert set(options(argv, "--env")) == {
        *("FLOW_RUNTIME_CODEC", "LOG_FORMAT", "LOG_LEVEL", "TOKEN")
    }
    assert "secret" not in " ".join(argv)


def test_a_connector_has_the_limits_of_flow_and_our_network(machine):
    machine.install("podman", PRESENT, RUNS)
    argv, _ = image(IMAGE).named()
    assert [*options(argv, "--memory"), *options(argv, "--cpus")] == ["1g", "2"]
    assert options(argv, "--network") == ["host"]


def test_the_entry_point_runs_without_the_command_as_in_flow(machine):
    machine.install("podman", PRESENT, RUNS)
    argv, _ = image(IMAGE).named()
    assert options(argv, "--entrypoint") == ["/connector"]
    assert argv[-2:] == (IMAGE, "--serve")


def test_docker_is_used_when_its_daemon_answers(machine):
    machine.install("docker", PRESENT)
    machine.install("podman", PRESENT, RUNS)
    assert image(IMAGE).argv[0] == str(machine.home / "docker")


def test_podman_is_used_when_dockers_daemon_does_not_answer(machine):
    machine.install("docker", ("version *", 1, "", "Cannot connect to the Docker daemon"))
    machine.install("podman", PRESENT, RUNS)
    assert image(IMAGE).argv[0] == str(machine.home / "podman")


def test_an_engine_can_be_chosen(machine, monkeypatch):
    machine.install("docker", PRESENT)
    machine.install("podman", PRESENT, RUNS)
    monkeypatch.setenv("FLOW_CONTAINER_ENGINE", "podman")
    assert image(IMAGE).argv[0] == str(machine.home / "podman")


def test_no_engine_is_one_sentence_that_says_how_to_get_one(machine):
    machine.install("docker", ("version *", 1, "", "...\nCannot connect to the Docker daemon"))
    with pytest.raises(ConfigError) as raised:
        image(IMAGE)
    assert str(raised.value).splitlines()[0].startswith("can't run image ")
    assert "('Cannot connect to the Docker daemon'), podman is not installed" in str(raised.value)
    assert "install podman" in str(raised.value)


def test_an_image_that_is_not_here_is_pulled_for_the_platform_of_flow(machine):
    machine.install(
        "podman", ("image inspect *", 1, "", "no such image"), ("pull *", 125, "", "no")
    )
    with pytest.raises(ConfigError, match=r"can't pull image 'ghcr.io/acme/source-x:v1': 'no'"):
        image(IMAGE)
    [pulled] = machine.asked("pull")
    assert options(tuple(pulled), "--platform") == ["linux/amd64"]


def test_an_image_to_be_built_here_is_not_pulled(machine):
    machine.install("podman", ("image inspect *", 1, "", "no such image"))
    with pytest.raises(ConfigError, match=r"build-local-python.sh source-x"):
        image("ghcr.io/estuary/source-x:local")
    assert not machine.asked("pull")


def test_what_podman_refuses_is_taken_back_step_by_step(machine):
    refused = ("*probe*", 126, "", "setrlimit `RLIMIT_NOFILE`: Operation not permitted")
    granted = ("run *--ulimit nproc=1024:1024 *probe*", 127, "", "")
    machine.install("podman", PRESENT, granted, refused)
    argv, _ = image(IMAGE).named()
    assert "nproc=1024:1024" in options(argv, "--ulimit")
    assert options(argv, "--memory")


def test_another_runtime_is_tried(machine):
    works = ("--runtime runc run *probe*", 127, "", "")
    machine.install("podman", PRESENT, works, ("*probe*", 126, "", "cgroups in hybrid mode"))
    machine.install("runc")
    argv, _ = image(IMAGE).named()
    assert argv[1:4] == ("--runtime", "runc", "run")


def test_what_never_works_is_told_with_the_engines_first_reason(machine):
    machine.install("podman", PRESENT, ("*probe*", 125, "", "Error: statfs /nowhere: no such file"))
    with pytest.raises(ConfigError, match="podman refuses: 'Error: statfs /nowhere: no such file'"):
        image(IMAGE)


def test_options_of_the_user_come_last(machine, monkeypatch):
    machine.install("podman", PRESENT, RUNS)
    monkeypatch.setenv("FLOW_CONTAINER_RUN_OPTIONS", "--memory 4g --volume '/a b:/data'")
    argv, _ = image(IMAGE).named()
    assert options(argv, "--memory") == ["1g", "4g"]
    assert options(argv, "--volume") == ["/a b:/data"]


def test_options_that_no_shell_could_read_are_the_users_mistake(machine, monkeypatch):
    machine.install("podman", PRESENT, RUNS)
    monkeypatch.setenv("FLOW_CONTAINER_RUN_OPTIONS", "--volume '/a")
    with pytest.raises(ConfigError, match="can't read FLOW_CONTAINER_RUN_OPTIONS"):
        image(IMAGE)


def test_containers_that_nobody_waits_for_are_removed(machine):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = containers.new_name()
    start = mine.partition(f"-{os.getpid()}-")[0]
    forgotten = f"{start}-{ended.pid}-1-abc"
    reused = f"{start}-{os.getpid()}-0-abc"
    names = f"{mine}\n{forgotten}\n{reused}\nflow-local-otherhost-1-1-abc"
    machine.install("podman", ("ps *", 0, names, ""))
    containers.remove_forgotten(engines.engine())
    assert [asked[-2:] for asked in machine.asked("rm")] == [[forgotten, reused]]


def test_a_container_is_removed_until_the_engine_has_forgotten_it(machine):
    machine.install("podman", ("rm *", 0, "", ""), ("ps *", 0, "flow-local-1\n", ""))
    pauses: list = []

    def forget(pause_s: float) -> None:
        pauses.append(pause_s)
        machine.install("podman", ("rm *", 0, "", ""))

    containers.remove(engines.engine(), "flow-local-1", pause=forget)
    assert pauses == [containers.REMOVAL_PAUSE_S]
    assert len(machine.asked("rm")) == 2


def test_a_container_that_stays_is_warned_of_with_the_engines_words(machine, caplog):
    stays = ("ps *", 0, "flow-local-1\n", "")
    machine.install("podman", ("rm *", 125, "", "Error: device or resource busy"), stays)
    containers.remove(engines.engine(), "flow-local-1", pause=lambda pause_s: None)
    assert len(machine.asked("rm")) == containers.REMOVALS_MAX
    [warning] = caplog.records
    assert warning.message == "a container was not removed"
    assert "device or resource busy" in str(vars(warning))


def test_an_engine_that_hangs_is_given_up(machine):
    program = machine.home / "docker"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    began = time.monotonic()
    answer = engines.Engine(str(program), "docker").ask("version", wait_s=0.2)
    assert answer.late
    assert time.monotonic() - began < 50


def test_an_engine_that_is_slow_to_look_is_not_said_to_lack_the_image(machine, monkeypatch):
    program = machine.home / "podman"
    program.write_text('#!/bin/sh\n[ "$1" != image ] || exec /bin/sleep 60\n')
    program.chmod(0o755)
    monkeypatch.setattr(images, "INSPECT_WAIT_S", 0.2)
    with pytest.raises(TransientError, match="with podman: 'no answer within"):
        image("ghcr.io/estuary/source-x:local")


def test_a_description_that_is_none_is_said_to_be_so(machine):
    machine.install("podman", ("image inspect *", 0, "[]", ""), RUNS)
    with pytest.raises(ConfigError, match="describes it in a way not understood"):
        image(IMAGE)
