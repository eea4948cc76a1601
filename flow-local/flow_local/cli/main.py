"""The commands of flow-local, their options and help; what they do is in the modules beside.

Those are imported when a command runs, so that help and mistakes in options come at once.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from flow_local.cli import completing, raw
from flow_local.cli.options import (
    FLOW_YAML,
    CollectionArgument,
    DataOption,
    JsonOption,
    LogFormat,
    LogFormatOption,
    Logging,
    LogLevelOption,
    NameOption,
    NamesOption,
    NetworkOption,
    OutputOption,
    ProfileOption,
    SourceOption,
    epilog,
)
from flow_local.cli.preview_options import (
    DebugPortOption,
    DelayOption,
    FixtureOption,
    InitialStateOption,
    LogJsonOption,
    OutputApplyOption,
    OutputStateOption,
    SessionsOption,
    ShardsOption,
    TimeoutOption,
)

FLOWCTL: Final = "flowctl"

app = typer.Typer(
    name="flow-local",
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Move data between systems: run Estuary Flow catalogs on this machine, exactly once.",
    epilog="New here? Run `flow-local demo`, then `flow-local init` in a directory of your own.",
)


@app.callback()
def flow_local(
    context: typer.Context,
    *,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    profile: ProfileOption = None,
    output: OutputOption = None,
) -> None:
    """Print help where no command is given."""
    del profile, output
    if version:
        from importlib.metadata import version as version_of

        typer.echo(f"flow-local {version_of('flow-local')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


class Demo(StrEnum):
    """What is captured in a demo."""

    POSTGRES = "postgres"
    HTTP = "http"


@app.command(
    short_help="See it work: a database's changes become SQLite tables.",
    epilog=epilog(
        "flow-local demo",
        "flow-local demo --seconds 60 --directory /tmp/shop",
        "flow-local demo http",
    ),
)
def demo(
    what: Annotated[
        Demo, typer.Argument(metavar="[postgres|http]", help="A database, or files over HTTP.")
    ] = Demo.POSTGRES,
    *,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory",
            "-d",
            metavar="DIR",
            help="Where all of it is put; by default flow-demo/ and the demo's name.",
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option("--seconds", metavar="SECONDS", help="How long the database changes.", min=0),
    ] = 8.0,
) -> None:
    """See it work: a database that keeps changing, or real files, land in SQLite tables.

    A private PostgreSQL is started, captured while it is written to, and compared row by row with
    what arrived. With http, public files are served from this machine.
    """
    place = directory or Path("flow-demo", what.value)
    if what is Demo.HTTP:
        from flow_local.cli.demo.command import demonstrate_files

        demonstrate_files(place)
        return
    import random

    from flow_local.cli.demo.shopping import demonstrate_changes

    demonstrate_changes(place, seconds, random.Random())  # noqa: S311 - keeps no secret


@app.command(
    short_help="Begin a catalog, from one that works.",
    epilog=epilog("flow-local init", "flow-local init my-project"),
)
def init(
    directory: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path(),
) -> None:
    """Begin a catalog: write a flow.yaml that works, to start from."""
    from flow_local.cli.projects import begin

    begin(directory)


@app.command(
    short_help="Run the catalog's tasks, once or for good.",
    epilog=epilog(
        "flow-local run",
        "flow-local run --until-idle",
        "flow-local run --source other/flow.yaml --name acme/source-http",
    ),
)
def run(  # noqa: PLR0913 - options are named by who types them
    *,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when there is nothing left to do.")
    ] = False,
    source: SourceOption = FLOW_YAML,
    name: NamesOption = None,
    data_dir: DataOption = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", help="Stop after so long, with status 3."),
    ] = None,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Run the catalog's tasks: capture, materialize, and keep at it until Ctrl-C.

    On a terminal, shows how far all are; elsewhere, logs lines of JSON on stderr.
    """
    from flow_local.cli.projects import Project
    from flow_local.cli.running import RunOptions, run_catalog, screen_of_stderr

    project = Project(source, data_dir, tuple(name or ()))
    options = RunOptions(until_idle, timeout, Logging(log_level, log_format))
    run_catalog(project, options, screen_of_stderr(log_format))


@app.command(
    short_help="Check the catalog with its connectors, field by field.",
    epilog=epilog("flow-local validate", "flow-local validate --name acme/materialize-sqlite"),
)
def validate(
    source: SourceOption = FLOW_YAML,
    name: NamesOption = None,
    data_dir: DataOption = None,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Check the catalog with its connectors; show each field, whether it is taken, and why."""
    from flow_local.cli.projects import Project
    from flow_local.cli.validating import validate_catalog

    validate_catalog(Project(source, data_dir, tuple(name or ())), Logging(log_level, log_format))


@app.command(
    short_help="Ask captures what there is; write it into the catalog.",
    epilog=epilog("flow-local discover", "flow-local discover --write --name acme/source-http"),
)
def discover(
    *,
    write: Annotated[
        bool, typer.Option("--write", help="Add what is new to the catalog's file.")
    ] = False,
    source: SourceOption = FLOW_YAML,
    name: NamesOption = None,
    as_json: JsonOption = False,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Ask captures what their endpoints have, and optionally write it into the catalog."""
    from flow_local.cli.discovering import discover_catalog
    from flow_local.cli.projects import Project

    project = Project(source, None, tuple(name or ()))
    logging = Logging(log_level, log_format)
    discover_catalog(project, write=write, as_json=as_json, logging=logging)


@app.command(
    short_help="Print what connectors are and how they are configured.",
    epilog=epilog("flow-local spec --name acme/source-http"),
)
def spec(
    source: SourceOption = FLOW_YAML,
    name: NamesOption = None,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Print what a connector is and how it is configured: one line of JSON per task."""
    from flow_local.cli.projects import Project
    from flow_local.cli.specs import print_specs

    print_specs(Project(source, None, tuple(name or ())), Logging(log_level, log_format))


@app.command(
    short_help="Run a task against its connector and print what it does.",
    epilog=epilog(
        "flow-local preview --name acme/source-http",
        "flow-local preview --sessions 1 --timeout 10s --output-state",
        "flow-local preview --name acme/materialize-sqlite --fixture fixture.jsonl --output-apply",
    ),
)
def preview(  # noqa: PLR0913 - options are named by who types them
    *,
    source: SourceOption = FLOW_YAML,
    name: NameOption = None,
    sessions: SessionsOption = None,
    timeout: TimeoutOption = None,
    delay: DelayOption = None,
    fixture: FixtureOption = None,
    initial_state: InitialStateOption = "{}",
    output_state: OutputStateOption = False,
    output_apply: OutputApplyOption = False,
    log_json: LogJsonOption = False,
    data_dir: DataOption = None,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
    network: NetworkOption = None,
    profile: ProfileOption = None,
    output: OutputOption = None,
    shards: ShardsOption = 1,
    debug_port: DebugPortOption = None,
) -> None:
    """Run one task and print what it does, in the lines of flowctl.

    A capture's documents are printed, ["collection",{...document...}], and not stored. A
    materialization does write to its destination, but its progress isn't recorded here.
    """
    from flow_local.cli.previewing import PreviewOptions, preview_task
    from flow_local.cli.projects import Project

    del network, profile, output, debug_port
    options = PreviewOptions(
        sessions=sessions,
        timeout=timeout,
        delay=delay,
        fixture=fixture,
        initial_state=initial_state,
        output_state=output_state,
        output_apply=output_apply,
        logging=Logging(log_level, LogFormat.JSON if log_json else log_format),
        shards=shards,
    )
    preview_task(Project(source, data_dir, (name,) if name else ()), options)


@app.command(
    "test",
    short_help="Run the tests of a catalog.",
    epilog=epilog("flow-local test", "flow-local test --name acme/tests/totals"),
)
def run_tests(
    source: SourceOption = FLOW_YAML,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", "-n", metavar="TEST", help="Only this test; may be repeated."),
    ] = None,
) -> None:
    """Run the catalog's tests: documents go in, and what collections then hold is compared."""
    from flow_local.cli.testing import test_catalog

    test_catalog(source, tuple(name or ()))


@app.command(
    short_help="Print the documents of a collection.",
    epilog=epilog("flow-local read acme/orders", "flow-local read acme/orders --limit 10"),
)
def read(
    collection: CollectionArgument,
    *,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Stop after so many documents.")
    ] = None,
    source: SourceOption = FLOW_YAML,
    data_dir: DataOption = None,
) -> None:
    """Print the documents of a collection that are committed, one line of JSON each."""
    from flow_local.cli.projects import Project
    from flow_local.cli.reading import read_collection

    read_collection(Project(source, data_dir), collection, limit)


@app.command(
    short_help="Print what is inferred of a collection.",
    epilog=epilog("flow-local schema acme/orders"),
)
def schema(
    collection: CollectionArgument,
    *,
    source: SourceOption = FLOW_YAML,
    data_dir: DataOption = None,
) -> None:
    """Print the JSON schema that is inferred of a collection's documents, as recorded last."""
    from flow_local.cli.projects import Project
    from flow_local.cli.schemas import print_schema

    print_schema(Project(source, data_dir), collection)


@app.command(
    short_help="Show what is committed and what waits.",
    epilog=epilog("flow-local status", "flow-local status --json"),
)
def status(
    source: SourceOption = FLOW_YAML,
    data_dir: DataOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show what was committed: the tasks, their collections, and how much waits."""
    from flow_local.cli.projects import Project
    from flow_local.cli.statuses import show_status

    show_status(Project(source, data_dir), as_json=as_json)


@app.command(
    short_help="Show what tasks logged.",
    epilog=epilog(
        "flow-local logs",
        "flow-local logs acme/source-http --lines 20 --log-format text",
        "flow-local logs --follow",
    ),
)
def logs(
    task: Annotated[
        str | None,
        typer.Argument(metavar="[TASK]", show_default=False, autocompletion=completing.tasks),
    ] = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is logged from now on.")
    ] = False,
    lines: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Begin with the last N lines.")
    ] = None,
    source: SourceOption = FLOW_YAML,
    data_dir: DataOption = None,
    log_format: LogFormatOption = None,
) -> None:
    """Show what a task and its connector logged while they ran; without one, what all did.

    Of each task the last 8 to 16 MB are kept in the data directory.
    """
    from flow_local.cli.logs import LogsOptions, show_logs
    from flow_local.cli.projects import Project

    show_logs(Project(source, data_dir), LogsOptions(task, follow, lines, log_format))


@app.command(
    short_help="Print what makes a shell complete flow-local.",
    epilog=epilog(
        "flow-local completion bash > ~/.local/share/bash-completion/completions/flow-local",
        "flow-local completion zsh > ~/.zfunc/_flow-local",
        "flow-local completion fish > ~/.config/fish/completions/flow-local.fish",
    ),
)
def completion(
    shell: Annotated[completing.Shell, typer.Argument(show_default=False)],
) -> None:
    """Print the script that makes a shell complete commands, options, tasks and collections."""
    completing.print_script(shell)


@app.command(
    short_help="Forget the progress of a task, or everything.",
    epilog=epilog("flow-local reset acme/source-http", "flow-local reset --yes"),
)
def reset(
    task: Annotated[
        str | None,
        typer.Argument(metavar="[TASK]", show_default=False, autocompletion=completing.tasks),
    ] = None,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    source: SourceOption = FLOW_YAML,
    data_dir: DataOption = None,
) -> None:
    """Forget the progress of a task, so that it begins anew; without one, remove everything.

    Says first what it would remove. Destinations are left alone until the
    task runs: a materialization then begins its tables anew.
    """
    from flow_local.cli.projects import Project
    from flow_local.cli.resetting import reset_project

    reset_project(Project(source, data_dir), task, yes=yes)


_NEXT_EXAMPLE: Final = "flow-local raw preview-next --name acme/source-http --sessions 1"
raw.app.command("preview-next", hidden=True, epilog=epilog(_NEXT_EXAMPLE))(preview)
app.add_typer(raw.app)


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 misused, 3 unhealthy or timed out.

    Called by the name flowctl, it ends as that does: 1 for whatever fails, 2 for options that are
    none.
    """
    is_flowctl = Path(sys.argv[0]).name == FLOWCTL
    completing.prepare()
    try:
        app(prog_name=FLOWCTL if is_flowctl else "flow-local")
    except Exception as error:
        from flow_local.cli.endings import reported

        code = reported(error)
        if code is None:
            raise
        sys.exit(1 if is_flowctl else code)


if __name__ == "__main__":
    main()
