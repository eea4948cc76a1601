"""Names of a package that are found when they are asked for: a process loads what it uses.

A connector is started for every question it is asked, so what a start costs is paid often. A
package that gathers names of many modules tells where they are instead of importing all of them:

    if TYPE_CHECKING:
        from estuary_cdk.clock import Clock, SystemClock

    __all__ = ["Clock", "SystemClock"]
    __getattr__ = exports(__name__, {"clock": ("Clock", "SystemClock")})
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module


def exports(package: str, modules: Mapping[str, Iterable[str]]) -> Callable[[str], object]:
    """Return a package's `__getattr__`: `modules` are its own, each with the names it exports.

    A name is looked up once, and is an attribute of the package from then on.
    """
    homes = {name: module for module, names in modules.items() for name in names}

    def attribute(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found: object = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, found)
        return found

    return attribute
