"""`raw`: questions to connectors that scripts ask with flowctl, in its spelling and its output."""

from typing import Annotated

import typer

from flow_local.cli.options import (
    LogFormatOption,
    Logging,
    LogLevelOption,
    NameOption,
    NetworkOption,
    OutputOption,
    ProfileOption,
    SourceOption,
    epilog,
)

app = typer.Typer(
    name="raw",
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What scripts written for flowctl call: spec, discover, bundle.",
    epilog=epilog("flow-local raw spec --source flow.yaml", "flow-local raw bundle --source -"),
)


@app.command(epilog=epilog("flow-local raw spec --source flow.yaml --name acme/source-http"))
def spec(  # noqa: PLR0913 - options are named by who types them
    source: SourceOption,
    *,
    name: NameOption = None,
    emit_raw: Annotated[bool, typer.Option("--emit-raw", hidden=True)] = False,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
    output: OutputOption = None,
    network: NetworkOption = None,
    profile: ProfileOption = None,
) -> None:
    """Print what a task's connector is: one line of JSON."""
    from flow_local.cli.raw_answers import print_spec

    del emit_raw, output, network, profile
    print_spec(source, name, Logging(log_level, log_format))


@app.command(
    epilog=epilog(
        "flow-local raw discover --source flow.yaml",
        "flow-local raw discover --source flow.yaml -o json --emit-raw",
    )
)
def discover(  # noqa: PLR0913 - options are named by who types them
    source: SourceOption,
    *,
    name: NameOption = None,
    emit_raw: Annotated[
        bool, typer.Option("--emit-raw", help="Print bindings, a line of JSON each; write nothing.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", hidden=True)] = False,
    flat: Annotated[bool, typer.Option("--flat", hidden=True)] = False,
    log_level: LogLevelOption = None,
    log_format: LogFormatOption = None,
    output: OutputOption = None,
    network: NetworkOption = None,
    profile: ProfileOption = None,
) -> None:
    """Ask a capture what its endpoint has, and add what is new to the catalog's files."""
    from flow_local.cli.raw_answers import discover_raw

    del overwrite, flat, output, network, profile
    discover_raw(source, name, emit_raw=emit_raw, logging=Logging(log_level, log_format))


@app.command(epilog=epilog("flow-local raw bundle --source flow.yaml > bundled.json"))
def bundle(
    source: SourceOption,
    *,
    output: OutputOption = None,
    network: NetworkOption = None,
    profile: ProfileOption = None,
) -> None:
    """Print the catalog as one JSON document: imports merged, files inlined, secrets left out."""
    from flow_local.cli.raw_answers import print_bundle

    del output, network, profile
    print_bundle(source)
