import stat

import pytest

from estuary_cdk.errors import ConfigError
from flow_local.connectors import image, local


def test_a_local_program_that_does_not_exist_is_the_users_mistake():
    with pytest.raises(ConfigError, match=r"can't launch local connector 'source-nowhere'"):
        local(["source-nowhere"])


def test_environment_values_do_not_show():
    assert "hunter2" not in repr(local(["sh"], {"PASSWORD": "hunter2"}))


@pytest.fixture
def engine(tmp_path, monkeypatch):
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_an_image_runs_in_a_container_that_can_be_removed_by_name(engine):
    endpoint = image("ghcr.io/acme/source-x:v1", {"TOKEN": "secret"})
    argv, name = endpoint.named()
    other, _ = endpoint.named()
    assert argv[:4] == ("podman", "run", "--rm", "--interactive")
    assert argv[-1] == "ghcr.io/acme/source-x:v1"
    assert argv[argv.index("--name") + 1] == name
    assert argv != other
    assert endpoint.removal == ("podman", "rm", "--force")
    assert "--env TOKEN" in " ".join(argv)
    assert "secret" not in " ".join(argv)


def test_an_image_without_an_engine_is_the_users_mistake(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="neither docker nor podman"):
        image("ghcr.io/acme/source-x:v1")
