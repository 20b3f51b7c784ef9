"""What signs when a CA starts."""

import pytest

from libs.pki import authority
from libs.pki.authority import Authority
from libs.pki.errors import AuthorityError
from services.ca import beginning, in_use, rotation
from services.ca.beginning import Begin, Beginning, Follow, Found, GoOn, Make
from services.ca.in_use import Record
from services.ca.secrets import IN_USE, OWN, PLUGGED_IN, Secret

NOW = 1_800_000_000.0
DAY = 24 * 3600


def made(name: str, lifetime: float = 10 * 365 * DAY) -> Authority:
    return authority.generate(name, now=NOW, lifetime=lifetime)


def wanted(signer: Authority) -> Secret:
    return Secret(authority.to_content(signer), "1", {})


def own(signer: Authority) -> Secret:
    return Secret(rotation.encode(rotation.begin(signer, longest=DAY)), "1", {})


def kept(signer: Authority, **record: int) -> Secret:
    return Secret(in_use.encode(in_use.begin(signer, Record(**record))), "1", {})  # type: ignore[arg-type]


def decide(found: Found, now: float = NOW) -> Beginning:
    return beginning.decide(found, now=now, longest=DAY)


def signer_of(begun: Beginning) -> str:
    assert not isinstance(begun, Make)
    return begun.state.signer.certificate.subject.rfc4514_string()


BROKEN = Secret({"ca-cert.pem": b"nothing"}, "1", {})


def test_where_there_is_nothing_a_root_is_made() -> None:
    assert isinstance(decide(Found(None, None, None)), Make)


def test_our_own_root_goes_on() -> None:
    assert isinstance(decide(Found(None, None, own(made("own")))), GoOn)


def test_the_first_that_is_plugged_in_is_recorded_also_beside_our_own() -> None:
    for beside in (None, own(made("own"))):
        begun = decide(Found(wanted(made("new")), None, beside))
        assert isinstance(begun, Begin)
        assert signer_of(begun) == "O=new"


def test_what_is_recorded_signs_whatever_is_wanted_until_it_has_ended() -> None:
    old = made("old", lifetime=DAY)
    for new in (None, wanted(made("new"))):
        begun = decide(Found(new, kept(old), None))
        assert isinstance(begun, Follow)
        assert signer_of(begun) == "O=old"
    begun = decide(Found(wanted(made("new")), kept(old), None), now=NOW + 2 * DAY)
    assert isinstance(begun, Begin)
    assert signer_of(begun) == "O=new"


def test_our_own_root_that_has_gone_on_since_is_believed_and_the_record_is_not() -> None:
    assert isinstance(decide(Found(None, kept(made("old"), own=0), own(made("own")))), GoOn)
    assert isinstance(decide(Found(None, kept(made("old"), own=9), own(made("own")))), Follow)


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (Found(None, BROKEN, None), IN_USE),
        (Found(wanted(made("new")), BROKEN, None), IN_USE),
        (Found(wanted(made("new")), BROKEN, own(made("own"))), IN_USE),
        (Found(BROKEN, None, None), PLUGGED_IN),
        (Found(BROKEN, None, own(made("own"))), PLUGGED_IN),
        (Found(None, None, BROKEN), OWN),
        (Found(None, kept(made("old")), BROKEN), OWN),
    ],
)
def test_what_decides_and_cannot_be_read_is_named_and_nothing_else_signs(
    found: Found, name: str
) -> None:
    with pytest.raises(AuthorityError, match=f"the Secret {name} cannot be used: "):
        decide(found)
