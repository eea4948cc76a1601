"""Completion of commands, options and names, as shells ask for it; bash itself asks here."""

import os
import subprocess
import sys

import pytest

from estuary_cdk.testing.patience import HANGS_S

WAIT_S = HANGS_S
SCRIPT = """
eval "$(flow-local completion bash)"
complete -p flow-local >&2
ask() {
  COMP_WORDS=("$@")
  COMP_CWORD=$(( $# - 1 ))
  _flow_local_completion flow-local
  echo "${COMPREPLY[@]}"
}
"""


@pytest.fixture
def bash(used, tmp_path):
    """What bash offers for lines of words, the last word of each unfinished."""
    used.write()
    command = tmp_path / "flow-local"
    command.write_text(f"#!{sys.executable}\nfrom flow_local.cli.main import main; main()\n")
    command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"

    def offered(*lines: str) -> list[set[str]]:
        ended = subprocess.run(
            ["bash", "--norc", "-c", SCRIPT + "".join(f"ask {words}\n" for words in lines)],
            cwd=used.path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert "-F _flow_local_completion flow-local" in ended.stderr
        return [set(line.split()) for line in ended.stdout.splitlines()]

    return offered


def test_bash_completes_commands_options_tasks_and_collections(bash):
    offers = {
        "flow-local re": {"read", "reset"},
        "flow-local run --until": {"--until-idle"},
        "flow-local run --log-format t": {"text"},
        "flow-local run --name acme/t": {"acme/table"},
        "flow-local logs acme/": {"acme/source", "acme/table"},
        'flow-local read ""': {"acme/events"},
    }
    assert bash(*offers) == list(offers.values())


@pytest.mark.parametrize(
    ("shell", "asked"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "flow-local run --until"}),
        (
            "fish",
            {
                "_TYPER_COMPLETE_ARGS": "flow-local run --until",
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
            },
        ),
    ],
)
def test_other_shells_get_a_script_and_answers(used, shell, asked):
    script = used.run("completion", shell)
    assert script.code == 0
    assert f"_FLOW_LOCAL_COMPLETE=complete_{shell}" in script.out
    answer = used.run("run", env={"_FLOW_LOCAL_COMPLETE": f"complete_{shell}", **asked})
    assert "--until-idle" in answer.out


def test_a_catalog_that_is_wrong_offers_nothing(bash, used):
    (used.path / "flow.yaml").write_text("captures: [")
    assert bash("flow-local run --name acme") == [set()]
