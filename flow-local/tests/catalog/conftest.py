"""What the tests of the catalog share."""

from pathlib import Path

import pytest

from estuary_cdk.errors import ConfigError
from flow_local.catalog import CatalogError, Diagnostics, load


def without_sops(config: bytes) -> bytes:
    raise ConfigError("it is encrypted and the program 'sops' isn't installed", hint="install it")


@pytest.fixture
def rendered(tmp_path, monkeypatch):
    """Return a function that writes files, loads the first, and returns the mistakes' lines."""

    def rendered(files: dict[str, str]) -> str:
        monkeypatch.chdir(tmp_path)
        for name, text in files.items():
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text(text)
        with pytest.raises(Diagnostics) as caught:
            load(next(iter(files)), {}, decrypt=without_sops)
        assert all(isinstance(error, CatalogError) for error in caught.value.exceptions)
        return caught.value.render()

    return rendered
