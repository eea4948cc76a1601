import pytest

from estuary_cdk.errors import ConfigError
from flow_local.connectors import local


def test_a_local_program_that_does_not_exist_is_the_users_mistake():
    with pytest.raises(ConfigError, match=r"can't launch local connector 'source-nowhere'"):
        local(["source-nowhere"])


def test_environment_values_do_not_show():
    assert "hunter2" not in repr(local(["sh"], {"PASSWORD": "hunter2"}))
