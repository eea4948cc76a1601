"""A row is looked for once the changes that were streamed can be seen."""

import threading

from source_postgres.visibility import Streamed


def test_a_transaction_that_isnt_visible_yet_is_waited_for(source):
    streamed = Streamed()
    with source.cluster_connection() as other, source.cluster_connection() as asking:
        other.execute("begin")
        [[xid]] = other.execute("select txid_current() & 4294967295").fetchall()
        streamed.add(xid)
        settled = threading.Event()

        def settle() -> None:
            streamed.settle(asking)
            settled.set()

        waiting = threading.Thread(target=settle)
        waiting.start()
        assert not settled.wait(0.2)
        other.execute("commit")
        waiting.join(10)
        assert settled.is_set()


def test_what_is_visible_isnt_waited_for(source):
    streamed = Streamed()
    [[xid]] = source.run("select txid_current() & 4294967295")
    streamed.add(xid)
    streamed.settle(source.connection)
