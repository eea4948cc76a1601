"""Secrets don't get out, in whatever spelling they travel."""

from base64 import b64encode
from urllib.parse import quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from estuary_cdk.kits.http.redaction import MASK, SECRETS_MAX, Redaction

secrets = st.text(st.characters(codec="utf-8", exclude_characters="*<>"), min_size=4, max_size=40)


@given(secrets, st.sampled_from([str, quote, quote_plus, lambda s: quote(s, safe="")]))
def test_a_known_secret_is_masked_in_every_spelling(secret: str, spelled) -> None:
    redaction = Redaction()
    redaction.add(secret)
    encoded = b64encode(secret.encode()).decode()
    for text in (spelled(secret), encoded):
        assert redaction.text(f"<{text}>") == f"<{MASK}>"


def test_parameters_named_like_secrets_lose_their_value() -> None:
    url = "https://ann:pw@a.test/p?api_key=k1&X-Amz-Signature=s1&page=2&password=p1&sig=s2"
    shown = Redaction().url(url)
    assert shown == ("https://a.test/p?api_key=***&X-Amz-Signature=***&page=2&password=***&sig=***")


def test_an_innocent_address_stays_as_it_is() -> None:
    url = "https://a.test/a%2Fb?author=x&monkey=y&q=1+2"
    assert Redaction().url(url) == url


def test_old_secrets_are_forgotten_last_ones_kept() -> None:
    redaction = Redaction()
    for number in range(SECRETS_MAX):
        redaction.add(f"token-{number:04d}")
    text = redaction.text(f"token-0000 token-{SECRETS_MAX - 1:04d}")
    assert text == f"token-0000 {MASK}"
