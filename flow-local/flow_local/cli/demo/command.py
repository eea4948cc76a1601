"""The demo of files from its first line to its last: serve, capture, materialize, show."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from estuary_cdk.errors import ConfigError
from flow_local.cli.demo.dataset import copied
from flow_local.cli.demo.pipeline import DATABASE, TABLES, remembered_port, write_catalog
from flow_local.cli.demo.server import HOST, served
from flow_local.cli.demo.tables import show_tables
from flow_local.cli.options import Logging
from flow_local.cli.projects import Project
from flow_local.cli.running import RunOptions, run_catalog
from flow_local.cli.tables import stdout
from flow_local.cli.views import Screen, final_view, terminal_view


def demonstrate_files(directory: Path) -> None:
    """Run the demo in `directory`, which is made if absent; what is there is used again.

    Raises what `run` raises, and ConfigError where the directory can't be used.
    """
    console = stdout()
    catalog, data = directory / "flow.yaml", directory / "data"
    with usable(directory):
        files = copied(data)
    with served(data, remembered_port(catalog)) as port:
        with usable(directory):
            write_catalog(catalog, port)
        console.print(f"Serving {len(files)} files of {data} at http://{HOST}:{port}/")
        console.print(f"Running {catalog}: HTTP to collections to SQLite\n")
        view = terminal_view(console) if console.is_terminal else final_view(console)
        options = RunOptions(until_idle=True, logging=Logging("warn"))
        board = run_catalog(Project(catalog), options, Screen(view, console))
    moved = sum(binding.documents for task in board.tasks for binding in task.bindings)
    if not moved:
        console.print("\nNothing new: the files are as they were, so nothing was read or written.")
    show_tables(console, directory / DATABASE, TABLES)
    _tell_next(console, directory)


@contextmanager
def usable(directory: Path) -> Iterator[None]:
    """Raise ConfigError where the system can't do with a directory what the block does."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"can't run the demo in {str(directory)!r}: {(error.strerror or str(error)).lower()}",
            hint="choose another directory with --directory",
        ) from error


def _tell_next(console: Console, directory: Path) -> None:
    database = directory / DATABASE
    query = "SELECT state, count(*) FROM airports GROUP BY 1 ORDER BY 2 DESC LIMIT 5"
    show = partial(console.print, soft_wrap=True)
    show(f"\nThe tables are in {database}. Look around:")
    show(f'  sqlite3 {database} "{query}"')
    show(
        f"  python3 -c 'import sqlite3; "
        f'print(*sqlite3.connect("{database}").execute("{query}"), sep="\\n")\''
    )
    file = directory / "data" / "airports.csv"
    show(f"Change a line of {file}, run the demo again, and the table follows.")
