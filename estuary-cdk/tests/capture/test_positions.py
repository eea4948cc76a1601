"""A state of every past version is still read."""

import pytest
from pydantic import ValidationError

from estuary_cdk.capture.positions import StreamState, upgraded

VERSION_1 = b"""{
    "version": 1,
    "started_at": "2024-01-01T00:00:00Z",
    "windows": {
        "history": "2024-01-01T00:00:00Z",
        "cutoff": "2024-02-01T00:00:00.25Z",
        "tail": "2024-02-01T00:00:00Z"
    },
    "snapshot": {"taken_at": "2024-01-01T00:00:00Z", "count": 3, "digest": "00"},
    "log": {"position": 123456789012345678901234567890},
    "pages": {"token": "next"}
}"""


def test_version_1_is_read():
    state = StreamState.model_validate_json(VERSION_1)
    assert state.log.position == 123456789012345678901234567890
    assert state.windows.progress().cutoff.microsecond == 250000
    assert state.pages.token == "next"
    assert StreamState.model_validate_json(state.model_dump_json()) == state


def test_upgrades_run_one_after_the_other():
    upgrades = {1: lambda state: {"b": state["a"]}, 2: lambda state: {"c": state["b"]}}
    assert upgraded({"version": 1, "a": 7}, upgrades, 3) == {"version": 3, "c": 7}


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_a_state_of_an_unknown_version_is_refused(version):
    with pytest.raises(ValidationError, match="isn't known"):
        StreamState.model_validate({"version": version})
