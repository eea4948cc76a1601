"""The demo: real files become tables, a second time there is nothing to do, and changes follow."""

import csv
import email.utils
import http.client
import re
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from estuary_cdk.testing.patience import HANGS_S
from flow_local.cli.demo.dataset import copied
from flow_local.cli.demo.pipeline import remembered_port, write_catalog
from flow_local.cli.demo.server import HOST, served


def rows(directory: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(directory / "demo.db")) as database:
        return database.execute(query).fetchall()


def progress(out: str) -> dict[tuple[str, str], int]:
    """The documents of each binding, as the table says."""
    found, task = {}, ""
    for line in out.partition("Task ")[2].partition("\n\n")[0].splitlines()[1:]:
        words = line.split()
        task = words.pop(0) if not line.startswith(" ") else task
        found[task, words[0]] = int(words[1].replace(",", ""))
    return found


def test_real_files_become_tables_twice_and_then_follow_a_change(project, newcomers):
    first = project.run("demo", "http", env=newcomers)
    directory = project.path / "flow-demo/http"
    assert (first.code, first.err) == (0, "")
    for task in ("demo/source-http", "demo/materialize-sqlite"):
        assert progress(first.out)[task, "demo/airports"] == 3376
        assert progress(first.out)[task, "demo/seattle-temps"] == 8759
        assert progress(first.out)[task, "demo/cars"] == 406
    assert "airports: 3,376 rows" in first.out
    assert str(Path("flow-demo/http/demo.db")) in first.out
    with (directory / "data/airports.csv").open(newline="") as file:
        [_, *airports] = csv.reader(file)
    columns = "iata, name, city, state, country, latitude, longitude"
    stored = rows(directory, f"SELECT {columns} FROM airports ORDER BY iata")
    assert [row[:5] for row in stored] == sorted(tuple(row[:5]) for row in airports)
    assert {row[0]: row[5] for row in stored} == {row[0]: float(row[5]) for row in airports}

    second = project.run("demo", "http")
    assert (second.code, second.err) == (0, "")
    assert "Nothing new" in second.out
    assert set(progress(second.out).values()) == {0}

    cars = msgspec.json.decode((directory / "data/cars.json").read_bytes())
    changed = [{**cars[0], "Horsepower": 1000}, *cars[1:-1]]
    (directory / "data/cars.json").write_bytes(msgspec.json.encode(changed))
    third = project.run("demo", "http")
    assert (third.code, third.err) == (0, "")
    assert "Nothing new" not in third.out
    assert progress(third.out)["demo/source-http", "demo/airports"] == 0
    assert rows(directory, "SELECT count(*), max(Horsepower) FROM cars") == [(405, 1000)]


def test_a_directory_that_can_not_be_is_a_sentence(project):
    (project.path / "taken").write_text("a file")
    ended = project.call("demo", "http", "--directory", "taken")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        "can't run the demo in 'taken': not a directory "
        "(choose another directory with --directory)\n"
    )


def test_files_are_copied_once_so_that_changes_stay(tmp_path):
    [airports, *_] = copied(tmp_path)
    airports.write_text("mine")
    assert copied(tmp_path)[0].read_text() == "mine"


def test_the_port_is_remembered_and_replaced_in_the_catalog_alone(tmp_path):
    path = tmp_path / "flow.yaml"
    assert remembered_port(path) == 0
    write_catalog(path, 1234)
    path.write_text(path.read_text() + "# mine\n")
    assert remembered_port(path) == 1234
    write_catalog(path, 4321)
    text = path.read_text()
    assert remembered_port(path) == 4321
    assert "1234" not in text
    assert text.endswith("# mine\n")


def test_a_port_that_is_taken_is_replaced(tmp_path):
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        with served(tmp_path, port) as other:
            assert other != port


class Client:
    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict, bytes]:
        with closing(http.client.HTTPConnection(HOST, self.port, timeout=HANGS_S)) as connection:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()


@pytest.fixture
def client(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"0123456789")
    with served(tmp_path, 0) as port:
        yield Client(port)


def test_a_file_comes_with_its_validators(client):
    status, headers, body = client.get("/a.csv")
    assert (status, body) == (200, b"0123456789")
    assert headers["Content-Type"] == "text/csv; charset=utf-8"
    assert email.utils.parsedate_to_datetime(headers["Last-Modified"])
    assert re.fullmatch(r'"[0-9a-f]{32}"', headers["ETag"])
    assert client.get("/a.csv", "HEAD") == (200, {**headers, "Date": headers["Date"]}, b"")


def test_an_unchanged_file_is_not_sent_again(client, tmp_path):
    etag = client.get("/a.csv")[1]["ETag"]
    assert client.get("/a.csv", If_None_Match=etag)[::2] == (304, b"")
    (tmp_path / "a.csv").write_bytes(b"changed")
    assert client.get("/a.csv", If_None_Match=etag)[::2] == (200, b"changed")


def test_a_broken_download_resumes_unless_the_file_changed(client):
    etag = client.get("/a.csv")[1]["ETag"]
    status, headers, body = client.get("/a.csv", Range="bytes=4-", If_Range=etag)
    assert (status, body, headers["Content-Range"]) == (206, b"456789", "bytes 4-9/10")
    assert client.get("/a.csv", Range="bytes=4-5")[::2] == (206, b"45")
    assert client.get("/a.csv", Range="bytes=4-", If_Range='"old"')[::2] == (200, b"0123456789")
    assert client.get("/a.csv", Range="bytes=10-")[0] == 416


@pytest.mark.parametrize("path", ["/b.csv", "/../secret", "/", "/%2e%2e/secret"])
def test_nothing_but_the_files_is_served(client, tmp_path, path):
    (tmp_path.parent / "secret").write_text("secret")
    assert client.get(path)[0] == 404
