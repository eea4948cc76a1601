"""The demo's catalog: three files over HTTP, three collections, three tables."""

import re
from pathlib import Path
from typing import Final

from flow_local.cli.demo.server import HOST

DATABASE: Final = "demo.db"
TABLES: Final = {
    "airports": "iata, name, city, state, latitude, longitude",
    "seattle_temps": "date, temp",
    "cars": "Name, Horsepower, Weight_in_lbs, Year, Origin",
}
_URL: Final = re.compile(rf"http://{re.escape(HOST)}:(\d+)/")
_CATALOG: Final = """\
# The catalog of `flow-local demo http`. The addresses are of a server that ends with the demo.

captures:
  demo/source-http:
    endpoint:
      local:
        command: [source-http]
        config:
          streams:
            - {name: airports, url: "ADDRESSairports.csv", key: [/iata]}
            - {name: seattle-temps, url: "ADDRESSseattle-temps.csv", key: [/date]}
            # Nothing in it is a key: a document is known by its file and its place there.
            - {name: cars, url: "ADDRESScars.json"}
    bindings:
      - {resource: {stream: airports}, target: demo/airports}
      - {resource: {stream: seattle-temps}, target: demo/seattle-temps}
      - {resource: {stream: cars}, target: demo/cars}

collections:
  demo/airports:
    key: [/iata]
    schema:
      type: object
      properties:
        iata: {type: string}
        name: {type: string}
        city: {type: string}
        state: {type: string}
        country: {type: string}
        latitude: {type: number}
        longitude: {type: number}
      required: [iata]
      # A line that vanishes from the file becomes a document whose op is d.
      if: &removed {properties: {_meta: {properties: {op: {const: d}}, required: [op]}}}
      then: &delete {reduce: {strategy: lastWriteWins, delete: true}}
  demo/seattle-temps:
    key: [/date]
    schema:
      type: object
      properties:
        date: {type: string}
        temp: {type: number, title: Fahrenheit}
      required: [date]
      if: *removed
      then: *delete
  demo/cars:
    key: [/_meta/file, /_meta/offset]
    schema:
      type: object
      properties:
        _meta:
          type: object
          properties: {file: {type: string}, offset: {type: integer}}
          required: [file, offset]
        Name: {type: string}
        Miles_per_Gallon: {type: [number, "null"]}
        Cylinders: {type: integer}
        Displacement: {type: number}
        Horsepower: {type: [integer, "null"]}
        Weight_in_lbs: {type: integer}
        Acceleration: {type: number}
        Year: {type: string, format: date}
        Origin: {type: string}
      required: [_meta]
      if: *removed
      then: *delete

materializations:
  demo/materialize-sqlite:
    endpoint:
      local:
        command: [materialize-sqlite]
        config: {path: DATABASE, hardDelete: true}
    bindings:
      - {source: demo/airports, resource: {table: airports}}
      - {source: demo/seattle-temps, resource: {table: seattle_temps}}
      - {source: demo/cars, resource: {table: cars}}
"""


def remembered_port(path: Path) -> int:
    """Return the port that a catalog written before names; 0 where there is none."""
    found = _URL.search(path.read_text(encoding="utf-8")) if path.exists() else None
    return int(found[1]) if found else 0


def write_catalog(path: Path, port: int) -> None:
    """Write the catalog, or put the port into one that is there: what was changed in it stays.

    A stream's address is part of what it remembers, so another port means reading all anew.
    """
    address = f"http://{HOST}:{port}/"
    if path.exists():
        before = path.read_text(encoding="utf-8")
        text = _URL.sub(address, before)
    else:
        before = ""
        database = str((path.parent / DATABASE).resolve())
        text = _CATALOG.replace("ADDRESS", address).replace("DATABASE", quoted(database))
    if text != before:
        path.write_text(text, encoding="utf-8")


def quoted(text: str) -> str:
    """Quote a text for YAML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
