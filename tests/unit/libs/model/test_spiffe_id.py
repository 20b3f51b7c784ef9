"""The one parser of SPIFFE ids: what it lets through is an identity, so it lets through little."""

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.model.ids import SpiffeId, parse_spiffe_id
from tests.support.spiffe_ids import LONG, REFUSED

DOMAINS = st.text(string.ascii_lowercase + string.digits + "._-", min_size=1, max_size=255)
SEGMENTS = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=253).filter(
    lambda text: text not in {".", ".."}
)


@given(DOMAINS, SEGMENTS, SEGMENTS)
def test_every_identity_is_read_as_it_was_written(
    domain: str, namespace: str, account: str
) -> None:
    identity = SpiffeId(domain, namespace, account)
    assert parse_spiffe_id(str(identity)) == identity
    assert str(identity) == f"spiffe://{identity.principal}"


@given(st.text(max_size=120))
def test_any_text_either_reads_as_itself_or_not_at_all(text: str) -> None:
    try:
        identity = parse_spiffe_id(text)
    except ValueError:
        return
    assert str(identity) == text


@given(st.data())
def test_one_changed_character_never_reads_as_the_same_identity(data: st.DataObject) -> None:
    victim = SpiffeId("cluster.local", "shop", "bob")
    text = str(victim)
    position = data.draw(st.integers(0, len(text)))
    inserted = data.draw(st.text(min_size=1, max_size=3))
    cut = data.draw(st.integers(position, len(text)))
    changed = text[:position] + inserted + text[cut:]
    if changed == text:
        return
    with contextlib.suppress(ValueError):
        assert parse_spiffe_id(changed) != victim


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # each has its own words
        parse_spiffe_id(text)


def test_the_longest_names_are_read() -> None:
    identity = SpiffeId("d" * 255, LONG, LONG)
    assert parse_spiffe_id(str(identity)) == identity
