"""The files of a directory become collections, and the collections follow the files."""

import os

import pytest

from estuary_cdk.errors import CdkError, ConfigError


def rows(start, stop, version="v"):
    return ("id,v\n" + "".join(f"{n},{version}{n}\n" for n in range(start, stop))).encode()


async def test_documents_name_their_file_by_the_directory_and_the_path_in_it(task, root):
    (root / "in").mkdir()
    (root / "in/f.csv").write_bytes(b"id,name\n1,ann\n")
    session = await task.run()
    assert [raw.decode() for _, raw in session.documents] == [
        '{"_meta":{"op":"c","file":"data/in/f.csv","offset":0},"id":1,"name":"ann"}'
    ]


async def test_changed_late_and_deleted_files_are_followed(task, root):
    task.config["advanced"] = {"onDelete": "delete"}
    (root / "f.csv").write_bytes(rows(0, 3))
    (root / "g.csv").write_bytes(rows(0, 1))
    await task.run()
    (root / "f.csv").write_bytes(rows(0, 2, "w"))
    (root / "a.csv").write_bytes(rows(7, 8))
    os.utime(root / "a.csv", (0, 0))
    (root / "g.csv").unlink()
    await task.run()
    assert sorted(document["v"] for document in task.collection()) == ["v7", "w0", "w1"]
    assert (await task.run()).documents == []


async def test_a_rewrite_of_the_same_size_that_keeps_its_date_is_found(task, root):
    (root / "f.csv").write_bytes(rows(0, 1))
    found = (root / "f.csv").stat()
    await task.run()
    (root / "f.csv").write_bytes(rows(0, 1, "w"))
    os.utime(root / "f.csv", ns=(found.st_atime_ns, found.st_mtime_ns))
    await task.run()
    assert [document["v"] for document in task.collection()] == ["w0"]


async def test_several_prefixes_are_several_bindings(task, root):
    task.config["prefixes"] = ["in/", "out/"]
    for path, count in (("in/f.csv", 2), ("out/f.csv", 3), ("other.csv", 4)):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(rows(0, count))
    await task.run()
    assert [len(task.collection(index)) for index in range(2)] == [2, 3]


async def test_what_is_no_regular_file_with_a_name_in_utf8_is_passed_over(task, root, tmp_path):
    (tmp_path / "secret.csv").write_bytes(rows(0, 1))
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")
    (root / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.csv")
    (root / os.fsdecode(b"\xff.csv")).write_bytes(rows(0, 1))
    (root / "f.csv").write_bytes(rows(0, 1))
    [(_, document)] = (await task.run()).documents
    assert b'"file":"data/f.csv"' in document


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"directory": "nowhere/x"}, "can't list directory 'nowhere/x': there is none"),
        ({"matchFiles": "("}, "'(' isn't a regular expression"),
        ({"advanced": {"minimumModified": "2026-01-01T00:00:00"}}, "has no offset from UTC"),
        ({"directry": "x"}, "/directry: unknown key, did you mean 'directory'?"),
    ],
)
async def test_a_wrong_setting_is_named(task, change, sentence):
    task.config |= change
    with pytest.raises(CdkError) as caught:
        await task.runtime.discover(task.config)
    assert sentence in str(caught.value)


async def test_a_stream_of_another_directory_is_refused(task, root):
    task.resources["stream"] = "elsewhere/"
    (root / "f.csv").write_bytes(rows(0, 1))
    with pytest.raises(ConfigError, match="a stream begins with 'data/'"):
        await task.run()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_is_named(task, root):
    (root / "f.csv").write_bytes(rows(0, 1))
    (root / "f.csv").chmod(0)
    with pytest.raises(ConfigError, match=r"can't read 'f\.csv': permission is denied"):
        await task.run()
