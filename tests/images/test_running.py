"""Images as connectors of flow-local: asked, ended, cleaned up after, and in a whole catalog."""

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from estuary_cdk.protocol import materialize
from estuary_cdk.testing.patience import HANGS_S
from flow_local.connectors import (
    MATERIALIZE,
    Connector,
    ConnectorFailed,
    capture_spec,
    containers,
    conversation,
    image,
    materialization_spec,
    validate_materialization,
)
from flow_local.connectors.process import launch

pytestmark = pytest.mark.images
ROWS = [(1, "Ann", 1.5), (2, "Bo", None), (12345678901234567890, "Zoë", -0.25)]

CATALOG = """
captures:
  acme/source-http:
    endpoint: {source}
    bindings:
      - resource: {{stream: people}}
        target: acme/people
collections:
  acme/people:
    schema:
      type: object
      properties:
        id: {{type: integer}}
        name: {{type: string}}
        score: {{type: [number, "null"]}}
      required: [id]
    key: [/id]
materializations:
  acme/materialize-sqlite:
    endpoint: {destination}
    bindings:
      - source: acme/people
        resource: {{table: people}}
"""


async def test_flow_local_asks_an_image(build):
    connector = Connector(image(build("source-http")), "acme/x", lambda event: None)
    assert (await capture_spec(connector)).protocol
    connector = Connector(image(build("materialize-sqlite")), "acme/y", lambda event: None)
    assert (await materialization_spec(connector)).protocol


async def test_what_a_connector_logs_in_its_container_is_handed_on(build):
    events: list = []
    endpoint = image(build("materialize-sqlite"))
    connector = Connector(endpoint, "acme/x", events.append)
    with pytest.raises(
        ConnectorFailed, match="can't use the endpoint config: /path: required, but missing"
    ):
        await validate_materialization(connector, materialize.Validate(name="acme/x"))
    assert "/path: required, but missing" in events[-1].sentence


async def test_a_connector_that_is_stopped_leaves_no_container(build, engine):
    connector = Connector(image(build("materialize-sqlite")), "acme/x", lambda event: None)
    async with conversation(connector, MATERIALIZE, "ask for the spec of") as talk:
        await talk.send(materialize.Spec(connector_type="IMAGE"))
        await talk.receive()
        assert own_containers(engine)
    assert not own_containers(engine)


async def test_a_connector_that_is_killed_leaves_no_container(build, engine):
    process = await launch(image(build("materialize-sqlite")), lambda event: None)
    await process.stdin.write(b'{"spec":{}}\n')
    await process.stdin.flush()
    assert await process.stdout.read()
    assert own_containers(engine)
    await process.kill()
    assert not own_containers(engine)


def test_a_connector_ends_when_flow_local_is_killed(build, engine):
    script = [sys.executable, "-c", ABANDONING, build("materialize-sqlite")]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True) as abandoning:
        assert abandoning.stdout.readline() == "at work\n"
        [name] = own_containers(engine, abandoning.pid)
        abandoning.kill()
    ended = engine.ask("wait", name, wait_s=10)
    assert ended.status == 0 or "no such container" in ended.complaint.lower()


ABANDONING = """
import asyncio, sys
from flow_local.connectors import image
from flow_local.connectors.process import launch

async def main():
    process = await launch(image(sys.argv[1]), lambda event: None)
    await process.stdin.write(b'{"spec":{}}\\n')
    await process.stdin.flush()
    await process.stdout.read()
    print("at work", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_container_whose_flow_local_was_killed_is_removed(build, engine):
    killed = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    argv, mine = image(build("materialize-sqlite")).named()
    name = mine.replace(f"-{os.getpid()}-", f"-{killed.pid}-")
    argv = [name if part == mine else part for part in argv]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as run:
        run.stdin.write(b'{"spec":{}}\n')
        run.stdin.flush()
        assert run.stdout.readline()
        killed.kill()
        killed.wait()
        killed.stdin.close()
        containers.remove_forgotten.__wrapped__(engine)
        assert run.wait(HANGS_S) != 0
    assert name not in engine.ask("ps", "--all", "--format", "{{.Names}}").out


def test_a_catalog_with_images_makes_the_rows_that_it_makes_with_commands(build, tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    lines = [f"{key},{name},{'' if score is None else score}" for key, name, score in ROWS]
    (served / "people.csv").write_text("\n".join(["id,name,score", *lines]) + "\n")
    with http_server(served) as url:
        streams = f'{{streams: [{{name: people, url: "{url}/people.csv", key: [/id]}}]}}'
        rows = {}
        for kind in ("local", "image"):
            folder = tmp_path / kind
            folder.mkdir()
            folder.chmod(0o777)  # The connector's user in the container is not ours.
            path = "/data/people.db" if kind == "image" else str(folder / "people.db")
            catalog = CATALOG.format(
                source=endpoint(kind, build, "source-http", streams),
                destination=endpoint(kind, build, "materialize-sqlite", f"{{path: {path}}}"),
            )
            (tmp_path / f"{kind}.yaml").write_text(catalog)
            run_catalog(tmp_path / f"{kind}.yaml", tmp_path / f"{kind}-state", folder)
            rows[kind] = table_rows(folder / "people.db")
    assert rows["image"] == rows["local"]
    assert [int(row[0]) for row in rows["image"]] == [key for key, _, _ in ROWS]


def own_containers(engine, pid: int | None = None) -> list[str]:
    start = containers.new_name().partition(f"-{os.getpid()}-")[0] + f"-{pid or os.getpid()}-"
    names = engine.ask("ps", "--all", "--format", "{{.Names}}").out.split()
    return [name for name in names if name.startswith(start)]


def endpoint(kind: str, build, connector: str, config: str) -> str:
    if kind == "image":
        return f"{{connector: {{image: {build(connector)}, config: {config}}}}}"
    return f"{{local: {{command: [{connector}], config: {config}}}}}"


@contextmanager
def http_server(folder: Path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def run_catalog(catalog: Path, state: Path, data: Path) -> None:
    command = [sys.executable, "-m", "flow_local.cli.main", "run", "--until-idle"]
    command += ["--source", str(catalog), "--data-dir", str(state), "--timeout", "100"]
    environment = {**os.environ, containers.RUN_OPTIONS_VARIABLE: f"--volume {data}:/data"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def table_rows(database: Path) -> list[tuple]:
    with closing(sqlite3.connect(database)) as db:
        return db.execute("SELECT id, name, score FROM people ORDER BY name").fetchall()
