"""A new project begins with a catalog that is good, and it is the example, too."""

import re
from pathlib import Path

import pytest

from estuary_cdk.errors import ConfigError
from flow_local.catalog import LocalEndpoint, load, template

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_template_is_a_good_catalog(tmp_path):
    catalog = load(template(tmp_path / "new" / "project"), {})
    (capture,) = catalog.captures.values()
    (materialization,) = catalog.materializations.values()
    assert isinstance(capture.endpoint, LocalEndpoint)
    assert capture.endpoint.command == ("source-http",)
    assert capture.bindings[0].target == materialization.bindings[0].source.collection


def test_the_example_is_the_template(tmp_path):
    example = EXAMPLES / "http-to-sqlite" / "flow.yaml"
    assert example.read_text() == template(tmp_path).read_text()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*/flow.yaml")), ids=lambda p: p.parent.name)
def test_every_example_loads(path):
    environment = dict.fromkeys(re.findall(r"\$\{env:(\w+)\}", path.read_text()), "a secret")
    assert load(path, environment).captures


def test_a_catalog_that_is_there_is_not_overwritten(tmp_path):
    template(tmp_path)
    (tmp_path / "flow.yaml").write_text("mine")
    with pytest.raises(ConfigError, match=r"'flow.yaml' is there already"):
        template(tmp_path)
    assert (tmp_path / "flow.yaml").read_text() == "mine"


def test_a_directory_that_can_not_be_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't begin a catalog"):
        template(tmp_path / "file" / "below")
