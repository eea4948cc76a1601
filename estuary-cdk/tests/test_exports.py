"""Packages that load their names when they are asked for export what their imports say."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = (
    "estuary_cdk",
    "estuary_cdk.capture",
    "estuary_cdk.kits.files",
    "estuary_cdk.kits.http",
    "estuary_cdk.materialize",
)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_is_that_of_the_module_it_is_imported_from(name):
    package = import_module(name)
    tree = ast.parse(Path(package.__file__).read_text())
    told = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith(f"{name}.")
        for alias in node.names
        if alias.name != "exports"
    }
    assert sorted(told) == sorted(package.__all__)
    # A module that was imported is an attribute too, and would hide the name.
    assert not {f"{name}.{export}" for export in told} & set(told.values())
    for export, module in told.items():
        assert getattr(package, export) is getattr(import_module(module), export)


def test_a_name_that_is_not_there_is_an_error_like_any_other():
    package = import_module("estuary_cdk.kits.files")
    with pytest.raises(AttributeError, match=r"'estuary_cdk.kits.files' has no attribute 'nought'"):
        package.nought  # noqa: B018


def test_a_package_does_not_load_what_nobody_asked_it_for():
    script = (
        "import sys; from estuary_cdk.capture import Capture;"
        "print(sorted({'estuary_cdk.capture.readers', 'estuary_cdk.kits.http.client'}"
        " & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert ended.stdout == b"[]\n", ended.stderr
