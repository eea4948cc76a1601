"""Addresses keep their spelling, and credentials keep to their origin."""

import pytest

from estuary_cdk.errors import ConfigError
from estuary_cdk.kits.http.address import checked, joined, redirected, trusted, with_parameters
from estuary_cdk.kits.http.transport import Request

SIGNED = "https://s3.test/a%2Fb/c%20d?X-Sig=a%2Bb%2F%3D&x=1+2"


def test_an_encoded_address_stays_byte_for_byte() -> None:
    assert checked(SIGNED) == SIGNED
    assert checked(f"{SIGNED}#fragment") == SIGNED


def test_an_address_as_people_write_it_is_encoded() -> None:
    assert checked(" https://münchen.test/ü b?q=ä ") == (
        "https://xn--mnchen-3ya.test/%C3%BC%20b?q=%C3%A4"
    )


@pytest.mark.parametrize(
    ("base", "path", "whole"),
    [
        ("https://a.test/v2", "calls", "https://a.test/v2/calls"),
        ("https://a.test/v2/", "/calls?x=1", "https://a.test/v2/calls?x=1"),
        ("https://a.test/v2?key=k", "calls?x=1", "https://a.test/v2/calls?key=k&x=1"),
        ("https://a.test/v2", "", "https://a.test/v2"),
        ("https://a.test/v2", "http://b.test/c", "http://b.test/c"),
    ],
)
def test_paths_are_below_the_base(base: str, path: str, whole: str) -> None:
    assert joined(base, path) == whole


def test_parameters_replace_their_namesakes_and_leave_the_rest_alone() -> None:
    url = with_parameters("https://a.test/p?x=a%2Bb&page=1&empty=", {"page": "2", "b c": "d&e"})
    assert url == "https://a.test/p?x=a%2Bb&empty=&page=2&b+c=d%26e"


@pytest.mark.parametrize(
    ("origin", "url", "allowed"),
    [
        ("https://a.test/x", "https://a.test:443/y", True),
        ("https://a.test", "https://A.test/y", True),
        ("http://a.test", "https://a.test/y", True),
        ("https://a.test", "http://a.test/y", False),
        ("https://a.test", "https://a.test:444/y", False),
        ("https://a.test", "https://b.a.test/y", False),
        ("https://a.test", "https://a.test.evil.test/y", False),
        ("http://a.test:8080", "https://a.test/y", False),
    ],
)
def test_credentials_keep_to_their_origin(origin: str, url: str, allowed: bool) -> None:
    assert trusted(origin, url) is allowed


def test_an_encrypted_request_is_not_redirected_to_plain_text() -> None:
    request = Request("GET", "https://a.test/x")
    with pytest.raises(ConfigError, match="leaves https for http"):
        redirected(request, 302, "http://a.test/x")


@pytest.mark.parametrize("location", ["ftp://a.test/x", "http://[", "http://ann:pw@a.test/"])
def test_a_redirect_to_nowhere_is_an_error(location: str) -> None:
    with pytest.raises(ConfigError, match="can't use an address"):
        redirected(Request("GET", "http://a.test/x"), 302, location)


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (301, "PUT", "PUT"),
        (307, "POST", "POST"),
        (308, "POST", "POST"),
    ],
)
def test_redirected_methods(status: int, method: str, then: str) -> None:
    turned = redirected(Request(method, "http://a.test/x", {}, b"b"), status, "/y")
    assert turned.method == then
    assert turned.url == "http://a.test/y"
    assert (turned.body is None) == (then != method or status == 303)
