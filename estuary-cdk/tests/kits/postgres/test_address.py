"""Addresses are taken apart as people write them, and those that can't work are told why."""

import pytest

from estuary_cdk.kits.postgres import checked, host_and_port


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("db.example.com", ("db.example.com", 5432)),
        ("db.example.com:6000", ("db.example.com", 6000)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("::1", ("::1", 5432)),
        ("[::1]", ("::1", 5432)),
        ("[2001:db8::7]:6000", ("2001:db8::7", 6000)),
    ],
)
def test_host_and_port_are_told_apart(address, parts):
    assert checked(f" {address} ") == address
    assert host_and_port(address) == parts


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("", "missing 'address'"),
        ("db:port", "'port' is no port"),
        ("db:70000", "'70000' is no port"),
        (":5432", "has no host"),
        ("postgres://db:5432/postgres", "without a scheme"),
        ("https://db", "without a scheme"),
        ("aws-0-eu.pooler.supabase.com:5432", "Supabase connection pooler"),
        ("AWS-0-EU.pooler.supabase.com", "Supabase connection pooler"),
        ("db.abc.supabase.co:6543", "Supabase connection pooler"),
        ("ep-cool-pooler.eu-central-1.aws.neon.tech", "Neon connection pooler"),
    ],
)
def test_an_address_that_cant_work_is_refused_with_the_reason(address, why):
    with pytest.raises(ValueError, match=why):
        checked(address)


def test_a_direct_address_of_a_host_with_poolers_is_taken():
    assert checked("db.abc.supabase.co:5432") == "db.abc.supabase.co:5432"
    assert checked("ep-cool.eu-central-1.aws.neon.tech")
