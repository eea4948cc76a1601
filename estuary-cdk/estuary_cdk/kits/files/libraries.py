"""Libraries that only some formats need, imported when one is met."""

from importlib import import_module
from types import ModuleType

from estuary_cdk.errors import ConfigError


def library(module: str, purpose: str) -> ModuleType:
    """Return a module; ConfigError, which says what for and how to get it, where there is none."""
    try:
        return import_module(module)
    except ImportError as error:
        package = module.split(".", maxsplit=1)[0]
        raise ConfigError(
            f"can't read {purpose}: they need the library {package!r}: {error}",
            hint="pip install 'estuary-cdk[files]'",
        ) from error
