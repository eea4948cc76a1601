from flow_local.connectors.events import LogDecoder, LogEvent


def events_of(*chunks: bytes) -> list[LogEvent]:
    decoder = LogDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)] + list(decoder.end())


def test_a_json_line_is_an_event_whatever_its_keys_are_called():
    [first, second] = events_of(
        b'{"lvl":"WARNING","msg":"slow","time":"2026-01-01T00:00:00Z","seconds":3}\n'
        b'{"level":"fatal","fields":{"message":"gone","code":7}}\n'
    )
    assert first == LogEvent("warn", "slow", {"seconds": 3}, "2026-01-01T00:00:00Z")
    assert second == LogEvent("error", "gone", {"code": 7})


def test_consecutive_raw_lines_are_one_event_that_a_json_line_ends():
    [trace, event] = events_of(
        b"Traceback (most recent call last):\n  File",
        b' "x.py"\nValueError: no such table\n{"level":"info","message":"on"}\n',
    )
    assert trace.level == "error"
    assert trace.sentence == "ValueError: no such table"
    assert event.message == "on"


def test_an_event_without_a_level_is_judged_by_its_text():
    [event] = events_of(b'{"msg":"unable to connect"}\n')
    assert event.level == "error"
    [event] = events_of(b"hello\n")
    assert event.level == "warn"


def test_a_pause_ends_a_raw_event():
    decoder = LogDecoder()
    assert list(decoder.feed(b"one\ntwo\n")) == []
    assert [event.message for event in decoder.pause()] == ["one\ntwo"]
    assert list(decoder.end()) == []


def test_white_space_alone_is_no_event():
    # A container's init signals that it is ready with a single space.
    assert events_of(b" ", b"\n\n") == []


def test_an_endless_line_is_cut_rather_than_kept():
    decoder = LogDecoder()
    found = [event for _ in range(40) for event in decoder.feed(b"x" * 65536)]
    assert found
    assert all(len(event.message) < 1 << 21 for event in found)


def test_the_help_that_a_container_engine_offers_is_not_the_error():
    [event] = events_of(
        b"Unable to find image 'acme/nope:v1' locally\n"
        b"docker: Error response from daemon: pull access denied for acme/nope.\n"
        b"\nRun 'docker run --help' for more information\n"
    )
    assert event.sentence == "docker: Error response from daemon: pull access denied for acme/nope."
