"""`test`: the tests of a catalog, how each went, and what differs where one failed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import typer

from estuary_cdk.errors import ConfigError
from flow_local.catalog import Catalog
from flow_local.catalog.diagnostics import did_you_mean
from flow_local.catalog_tests import Difference, Mismatch, Odd, run_test
from flow_local.cli.endings import FAILED, CommandFailed
from flow_local.cli.projects import Project

DIFFERENCES_SHOWN_MAX: Final = 20


def test_catalog(source: Path, names: tuple[str, ...]) -> None:
    """Run all tests, or those of these names, and print a line for each.

    Raises CommandFailed where any failed, ConfigError for a name that no test has.
    """
    loaded = Project(source).catalog(secrets=False)
    _check(names, loaded)
    failed = 0
    chosen = [test for test in loaded.tests.values() if not names or test.name in names]
    for test in chosen:
        mismatch = run_test(test, loaded.collections)
        typer.echo(f"{'failed' if mismatch else 'passed'}  {test.name}")
        if mismatch:
            failed += 1
            for line in _told(mismatch):
                typer.echo(f"        {line}")
    if failed:
        raise CommandFailed(FAILED, [f"{failed} of {len(chosen)} tests failed"])
    typer.echo(f"{len(chosen)} tests passed" if len(chosen) != 1 else "1 test passed")


def _check(names: tuple[str, ...], loaded: Catalog) -> None:
    for name in names:
        if name not in loaded.tests:
            known = ", ".join(map(repr, loaded.tests)) or "none"
            raise ConfigError(
                f"can't find test {name!r}: the catalog has {known}",
                hint=did_you_mean(name, loaded.tests),
            )


def _told(mismatch: Mismatch) -> Iterator[str]:
    description = f" ({mismatch.description})" if mismatch.description else ""
    yield f"{mismatch.location}: step {mismatch.step}{description}: {mismatch.problem}"
    shown = 0
    for odd in mismatch.documents:
        lines = list(_shown(odd))
        if shown and shown + len(lines) > DIFFERENCES_SHOWN_MAX:
            yield "  ..."
            return
        shown += len(lines)
        yield f"  document {odd.key.decode()}"
        yield from lines


def _shown(odd: Odd) -> Iterator[str]:
    for difference in odd.differences:
        yield from _lines(difference)


def _lines(difference: Difference) -> Iterator[str]:
    where = f"{difference.pointer}: " if difference.pointer else ""
    yield f"    - {where}{difference.expected.decode()}"
    yield f"    + {where}{difference.found.decode()}"
