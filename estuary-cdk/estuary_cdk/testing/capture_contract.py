"""What every capture promises, as checks that run against any.

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    async def test_it_keeps(promise):
        await promise(CaptureSubject(serve=capture.serve, config={...}, refused={...}))

A check fails with an AssertionError or with whatever the connector raises.
"""

import io
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from jsonschema import Draft202012Validator

from estuary_cdk.errors import CdkError, ConfigError
from estuary_cdk.logs import JsonFormatter
from estuary_cdk.protocol import capture as messages
from estuary_cdk.protocol.codec import encode_json
from estuary_cdk.protocol.flow import PROTOCOL_VERSION
from estuary_cdk.testing.runtime import (
    CaptureRuntime,
    Lasting,
    Serve,
    Session,
    after_checkpoints,
    after_messages,
    key_of,
    reduced,
)

KILLS_MAX: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureSubject:
    """A capture and an endpoint that doesn't change while it is checked.

    - `serve` is the capture's, with its fakes and clock put in.
    - `config` works; with `refused` the endpoint turns the connector away.
    - `lasting` is how long to let a capture run that never ends by itself, for instance
      `lambda: clock.sleep(3600)` with a FakeClock.
    - `secrets` are texts of `config` and `refused` that must not show anywhere.
    """

    serve: Serve
    config: Mapping[str, Any]
    refused: Mapping[str, Any]
    lasting: Lasting | None = None
    secrets: Sequence[str] = ()

    def runtime(self) -> CaptureRuntime:
        """Return a runtime of this capture."""
        return CaptureRuntime(self.serve)

    async def whole(
        self, built: messages.CaptureSpec, state: Mapping[str, Any] | None = None
    ) -> Session:
        """Capture everything there is from a state on."""
        return await self.runtime().run(built, state=state, lasting=self.lasting)


Promise = Callable[[CaptureSubject], Awaitable[None]]


async def the_spec_is_stable_and_valid(subject: CaptureSubject) -> None:
    """Spec is the same at every call, and its schemas are schemas of objects."""
    spec = await subject.runtime().spec()
    assert spec == await subject.runtime().spec()
    assert spec.protocol == PROTOCOL_VERSION
    assert spec.documentation_url.startswith("https://")
    assert spec.resource_path_pointers
    for raw in (spec.config_schema, spec.resource_config_schema):
        schema = msgspec.json.decode(raw)
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
    configs = Draft202012Validator(msgspec.json.decode(spec.config_schema))
    assert not [error.message for error in configs.iter_errors(dict(subject.config))]


async def discovery_is_deterministic_and_valid(subject: CaptureSubject) -> None:
    """Discover lists the same each time: resources whose config, schema, key and path fit."""
    runtime = subject.runtime()
    spec = await runtime.spec()
    found = await runtime.discover(subject.config)
    assert found == await runtime.discover(subject.config)
    assert found
    paths = [tuple(binding.resource_path) for binding in found]
    assert all(paths)
    assert len(set(paths)) == len(paths)
    resources = Draft202012Validator(msgspec.json.decode(spec.resource_config_schema))
    for binding in found:
        config = msgspec.json.decode(binding.resource_config)
        assert not [error.message for error in resources.iter_errors(config)]
        schema = msgspec.json.decode(binding.document_schema)
        Draft202012Validator.check_schema(schema)
        assert "object" in [part.get("type") for part in (schema, *schema.get("allOf", ()))]


async def what_is_discovered_validates_and_applies_again_and_again(
    subject: CaptureSubject,
) -> None:
    """Discovered bindings validate as they are, to the paths discovered, and apply twice."""
    runtime = subject.runtime()
    found = await runtime.discover(subject.config)
    built = await runtime.build(subject.config)
    paths = [binding.resource_path for binding in built.bindings]
    assert paths == [binding.resource_path for binding in found]
    await runtime.apply(built)
    await runtime.apply(built)


async def a_refused_config_is_one_sentence(subject: CaptureSubject) -> None:
    """What the endpoint refuses is a ConfigError of one line, without a secret in it."""
    error = await _failure(subject, subject.refused)
    assert isinstance(error, ConfigError), repr(error)
    sentence = str(error)
    assert "\n" not in sentence
    _assert_secret_free(subject, sentence)


async def an_unknown_setting_is_named(subject: CaptureSubject) -> None:
    """A key that the config doesn't have is an error that names it."""
    error = await _failure(subject, {**subject.config, "no_such_setting": 1})
    assert isinstance(error, ConfigError), repr(error)
    assert "/no_such_setting" in str(error)


async def documents_fit_their_schema_and_carry_their_key(subject: CaptureSubject) -> None:
    """Every document validates against the discovered schema and has a scalar at each key."""
    built = await subject.runtime().build(subject.config)
    session = await subject.whole(built)
    assert session.documents
    validators = [
        Draft202012Validator(msgspec.json.decode(binding.collection.write_schema))
        for binding in built.bindings
        if binding.collection
    ]
    for index, raw in session.documents:
        document = msgspec.json.decode(raw)
        problems = [error.message for error in validators[index].iter_errors(document)]
        assert not problems, (built.bindings[index].resource_path, problems[:3])
        key = key_of(document, built, index)
        assert all(isinstance(each, str | int | bool) for each in key), key


async def killed_at_any_checkpoint_it_resumes_to_the_same_collections(
    subject: CaptureSubject,
) -> None:
    """Crash after any checkpoint, resume from its state: nothing is lost, nothing stays stale."""
    built = await subject.runtime().build(subject.config)
    whole = await subject.whole(built)
    expected = reduced(whole.documents, built)
    for count in _spread(whole.checkpoints):
        killed = await subject.runtime().run(built, until=after_checkpoints(count), kill=True)
        resumed = await subject.whole(built, killed.state)
        assert reduced(killed.documents + resumed.documents, built) == expected, count


async def killed_at_any_message_it_resumes_to_the_same_collections(
    subject: CaptureSubject,
) -> None:
    """Crash amid a transaction, resume from the last checkpoint: nothing is lost."""
    built = await subject.runtime().build(subject.config)
    whole = await subject.whole(built)
    expected = reduced(whole.documents, built)
    for count in _spread(len(whole.transcript)):
        killed = await subject.runtime().run(built, until=after_messages(count), kill=True)
        resumed = await subject.whole(built, killed.state)
        assert reduced(killed.documents + resumed.documents, built) == expected, count


async def the_end_of_requests_stops_it(subject: CaptureSubject) -> None:
    """When the runtime has no more requests the capture ends by itself, between transactions."""
    built = await subject.runtime().build(subject.config)
    session = await subject.runtime().run(built, until=after_messages(1))
    assert session.discarded == 0


async def nothing_but_the_protocol_is_printed(subject: CaptureSubject) -> None:
    """Nobody prints to stdout."""
    with redirect_stdout(io.StringIO()) as printed:
        built = await subject.runtime().build(subject.config)
        await subject.whole(built)
    assert printed.getvalue() == ""


async def secrets_stay_secret(subject: CaptureSubject) -> None:
    """No secret shows in any log, document, state or error, whatever the log level."""
    with _recorded() as lines:
        built = await subject.runtime().build(subject.config)
        session = await subject.whole(built)
        await _failure(subject, subject.refused)
    for line in lines:
        _assert_secret_free(subject, line)
    _assert_secret_free(subject, encode_json(session.state).decode())
    for _, document in session.documents:
        _assert_secret_free(subject, document.decode())


PROMISES: Final[tuple[Promise, ...]] = (
    the_spec_is_stable_and_valid,
    discovery_is_deterministic_and_valid,
    what_is_discovered_validates_and_applies_again_and_again,
    a_refused_config_is_one_sentence,
    an_unknown_setting_is_named,
    documents_fit_their_schema_and_carry_their_key,
    killed_at_any_checkpoint_it_resumes_to_the_same_collections,
    killed_at_any_message_it_resumes_to_the_same_collections,
    the_end_of_requests_stops_it,
    nothing_but_the_protocol_is_printed,
    secrets_stay_secret,
)


def _spread(count: int) -> list[int]:
    """Return at most KILLS_MAX numbers from 1 to `count`, both included."""
    if count <= KILLS_MAX:
        return list(range(1, count + 1))
    return sorted({1 + (count - 1) * n // (KILLS_MAX - 1) for n in range(KILLS_MAX)})


async def _failure(subject: CaptureSubject, config: Mapping[str, Any]) -> Exception:
    """Return what the connector fails with, at the latest when it is opened."""
    try:
        built = await subject.runtime().build(config)
        await subject.whole(built)
    except CdkError as error:
        return error
    except ExceptionGroup as group:
        return _leaf(group)
    raise AssertionError("the connector worked with a config that it should have refused")


def _leaf(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _assert_secret_free(subject: CaptureSubject, text: str) -> None:
    for secret in subject.secrets:
        assert secret not in text, f"a secret shows in {text.replace(secret, '***')[:300]!r}"


@contextmanager
def _recorded() -> Iterator[list[str]]:
    """Record every line that the process logs, down to the lowest level."""
    lines: list[str] = []

    class Recorder(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(JsonFormatter().format(record))

    root, recorder = logging.getLogger(), Recorder()
    level = root.level
    root.addHandler(recorder)
    root.setLevel(logging.NOTSET + 1)
    try:
        yield lines
    finally:
        root.removeHandler(recorder)
        root.setLevel(level)
