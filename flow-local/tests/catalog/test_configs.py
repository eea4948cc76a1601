"""Endpoint configs: variables can't inject, and encrypted configs are decrypted as Flow does."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.errors import ConfigError
from flow_local.catalog.configs import Secrets, config_bytes, sops_decrypted
from flow_local.catalog.diagnostics import Mistakes
from flow_local.catalog.json_text import parse_json
from flow_local.catalog.yaml_text import parse_yaml

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def decrypted(value):
    def decrypt(config):
        return msgspec.json.encode(value)

    return decrypt


def config_of(text, environment, decrypt=sops_decrypted):
    mistakes = Mistakes()
    node = parse_yaml(text, "flow.yaml")
    config = config_bytes(node, "capture 'x'", Secrets(environment, decrypt), mistakes)
    return config, [str(error) for error in mistakes.errors]


@given(TEXT)
def test_a_variable_is_only_ever_text(value):
    config, mistakes = config_of("a: 'x${env:V}y'\nb: ${env:V}\n${env:V}: 1", {"V": value})
    assert not mistakes
    assert msgspec.json.decode(config) == {"a": f"x{value}y", "b": value, "${env:V}": 1}


def test_a_variable_is_never_expanded_again():
    assert config_of("a: ${env:A}", {"A": "${env:B}", "B": "x"}) == (b'{"a":"${env:B}"}', [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$${env:V}", "${env:V}"),
        ("${other}", "${other}"),
        ("$V", "$V"),
        ("$$", "$$"),
        ("${env:V}$${${env:V}", "v${v"),
    ],
)
def test_only_the_env_form_means_a_variable(text, expected):
    config, mistakes = config_of(f"a: '{text}'", {"V": "v"})
    assert not mistakes
    assert msgspec.json.decode(config) == {"a": expected}


def test_a_number_from_a_variable_stays_text_and_other_numbers_keep_their_spelling():
    assert config_of("{port: '${env:P}', x: 1.0}", {"P": "1"})[0] == b'{"port":"1","x":1.0}'


@pytest.mark.parametrize("text", ["${env:}", "${env:a-b}", "x${env:A"])
def test_a_malformed_variable_is_a_mistake(text):
    _, mistakes = config_of(f"a: '{text}'", {"A": "x"})
    assert "isn't the name of a variable" in mistakes[0]


def test_without_an_environment_a_config_stays_as_written():
    assert config_of("{a: '${env:A}', sops: {}}", None)[0] == b'{"a":"${env:A}","sops":{}}'


def test_a_decrypted_config_loses_stanza_and_suffix():
    text = "{sops: {encrypted_suffix: _sops}, a_sops: ENC}"
    secret = {"a_sops": "${env:A}", "b": [{"c_sops": 1}], "sops": {"x": 1}}
    config, mistakes = config_of(text, {}, decrypted(secret))
    assert not mistakes
    assert config == b'{"a":"${env:A}","b":[{"c":1}]}'


def test_without_a_suffix_nothing_is_stripped():
    assert config_of("{sops: {}}", {}, decrypted({"a_sops": 1}))[0] == b'{"a_sops":1}'


def test_a_config_that_decrypts_to_garbage_is_a_mistake_that_does_not_show_it():
    _, mistakes = config_of("{sops: {}}", {}, lambda config: b"hunter2")
    assert "what sops returned isn't JSON" in mistakes[0]
    assert "hunter2" not in mistakes[0]


@pytest.fixture
def sops(tmp_path, monkeypatch):
    """Put a program called sops on the path."""

    def install(script):
        program = tmp_path / "sops"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return install


def test_sops_gets_the_config_on_its_input(sops):
    sops('[ "$1" = --decrypt ] && exec cat "$6"')
    assert parse_json(sops_decrypted(b'{"a":1}').decode(), "x")


def test_a_failing_sops_is_quoted(sops):
    sops("echo no key >&2; exit 3")
    with pytest.raises(ConfigError, match=r"sops exited with 3: 'no key'"):
        sops_decrypted(b"{}")


def test_a_missing_sops_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="install sops"):
        sops_decrypted(b"{}")
