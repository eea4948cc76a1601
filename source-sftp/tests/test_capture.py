"""The files of a server become collections, and the collections follow the files."""

import asyncssh
import pytest

from estuary_cdk.errors import CdkError, ConfigError
from estuary_cdk.kits.files import outbox, stores
from estuary_cdk.testing.runtime import after_checkpoints


def rows(start, stop, version="v"):
    return ("id,v\n" + "".join(f"{n},{version}{n}\n" for n in range(start, stop))).encode()


async def test_documents_name_their_file_by_its_whole_path(task, root):
    (root / "in").mkdir()
    (root / "in/f.csv").write_bytes(b"id,name\n1,ann\n")
    session = await task.run()
    place = f'"file":"{root}/in/f.csv"'
    assert [raw.decode() for _, raw in session.documents] == [
        f'{{"_meta":{{"op":"c",{place},"offset":0}},"id":1,"name":"ann"}}'
    ]


async def test_changed_and_deleted_files_are_followed(task, root):
    task.config["advanced"] = {"onDelete": "delete"}
    (root / "f.csv").write_bytes(rows(0, 3))
    (root / "g.csv").write_bytes(rows(0, 1))
    await task.run()
    (root / "f.csv").write_bytes(rows(0, 2, "w"))
    (root / "g.csv").unlink()
    await task.run()
    assert sorted(document["v"] for document in task.collection()) == ["w0", "w1"]


async def test_a_large_file_is_read_in_ranges_and_a_killed_run_goes_on(task, root, monkeypatch):
    monkeypatch.setattr(outbox, "CHECKPOINT_DOCUMENTS", 1000)
    monkeypatch.setattr(stores, "RANGE_BYTES", 20_000)
    (root / "f.jsonl").write_bytes(b"".join(b'{"id":%d}\n' % n for n in range(20_000)))
    first = await task.run(after_checkpoints(2), kill=True)
    await task.run()
    assert 0 < len(first.documents) < 20_000
    assert sorted(document["id"] for document in task.collection()) == [*range(20_000)]


async def test_a_stream_may_be_a_directory_below(task, root):
    for name in ("in", "in-between", "out"):
        (root / name).mkdir()
        (root / name / "f.csv").write_bytes(rows(0, 1))
    task.resources["stream"] = f"{root}/in"
    [(_, document)] = (await task.run()).documents
    assert f'"file":"{root}/in/f.csv"'.encode() in document


async def test_it_logs_in_with_a_key_and_checks_the_servers(task, root, server):
    (root / "f.csv").write_bytes(rows(0, 1))
    for host_key in (server.host_key, server.fingerprint):
        task.config["advanced"] = {"hostKey": host_key}
        await task.run()
    assert len(task.collection()) == 1


async def test_it_logs_in_with_a_password(password_task, root):
    (root / "f.csv").write_bytes(rows(0, 1))
    await password_task.run()
    assert len(password_task.collection()) == 1


async def test_a_wrong_password_is_told_and_not_shown(password_task):
    password_task.config["credentials"]["password"] = "wrong horse"
    with pytest.raises(CdkError, match="doesn't accept the password of user") as caught:
        await password_task.runtime.discover(password_task.config)
    assert "(check username and password)" in str(caught.value)
    assert "wrong horse" not in str(caught.value)


def other_key() -> str:
    return asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"directory": "/missing"}, "can't list '/missing/': there is none (check directory)"),
        ({"address": "127.0.0.1:1"}, "nothing answers at that port (check address and firewalls)"),
        ({"address": "a b"}, "'a b' is no address: write host or host:port"),
        ({"matchFiles": "("}, "'(' isn't a regular expression"),
        ({"advanced": {"hostKey": "SHA256:AAAA"}}, "its host key isn't the one expected"),
        (
            {"credentials": {"type": "sshKey", "username": "somebody", "sshKey": other_key()}},
            "it doesn't accept the key for user 'somebody'",
        ),
        (
            {"credentials": {"type": "sshKey", "username": "me", "sshKey": "ssh-rsa AAAA"}},
            "can't use sshKey: it is a public key",
        ),
    ],
)
async def test_what_stands_in_the_way_is_one_sentence(task, change, sentence, monkeypatch):
    monkeypatch.setattr("source_sftp.store.PAUSE_S", 0)
    task.config |= change
    with pytest.raises(CdkError) as caught:
        await task.runtime.discover(task.config)
    assert sentence in str(caught.value)


async def test_a_stream_outside_the_directory_is_refused(task, root):
    task.resources["stream"] = "/elsewhere"
    (root / "f.csv").write_bytes(rows(0, 1))
    with pytest.raises(ConfigError, match=rf"a stream begins with '{root}/'"):
        await task.run()
