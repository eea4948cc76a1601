"""The flow.yaml that a new project begins with: a CSV file over HTTP into a SQLite table."""

from pathlib import Path

from estuary_cdk.errors import ConfigError

FILE_NAME = "flow.yaml"
TEMPLATE = """\
# A Flow catalog: what is captured, the collections it lands in, and where these are materialized.
# Run it:        flow-local run --until-idle
# Add streams:   flow-local discover --write   (adds bindings and collections to this file)
# In any config, ${env:NAME} stands for an environment variable: keep secrets out of this file.

captures:
  demo/source-http:
    endpoint:
      local:
        command: [source-http]
        config:
          streams:
            - name: weather
              url: https://cdn.jsdelivr.net/npm/vega-datasets@2/data/seattle-weather.csv
    interval: 5m # how often to look for changes
    bindings:
      - resource: {stream: weather}
        target: demo/weather

collections:
  demo/weather:
    schema:
      type: object
      properties:
        date: {type: string}
        precipitation: {type: number}
        temp_max: {type: number}
        temp_min: {type: number}
        wind: {type: number}
        weather: {type: string}
      required: [date]
    key: [/date] # documents of one key are one row

materializations:
  demo/materialize-sqlite:
    endpoint:
      local:
        command: [materialize-sqlite]
        config: {path: weather.db}
    bindings:
      - source: demo/weather
        resource: {table: weather}
"""


def template(directory: str | Path) -> Path:
    """Write the template into `directory`, which is created, and return its path.

    Raises ConfigError when there is a flow.yaml already, or no way to write one.
    """
    path = Path(directory) / FILE_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError as error:
        raise ConfigError(
            f"can't begin a catalog in {str(directory)!r}: {path.name!r} is there already",
            hint="use it, or choose another directory",
        ) from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"can't begin a catalog in {str(directory)!r}: {reason}") from error
    return path
