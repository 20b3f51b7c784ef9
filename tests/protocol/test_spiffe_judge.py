"""Identities and certificates, as SPIFFE's own library reads them and as we do."""

import string
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from libs.model import ids
from libs.model.ids import SpiffeId, parse_spiffe_id
from libs.pki import bundle, csr, keys, verify
from libs.pki.authority import Authority
from libs.pki.errors import PkiError
from libs.pki.template import Template
from libs.runtime.clock import SystemClock
from tests.support.csr_cases import EVE
from tests.support.pki import BOB, NOW, intermediate, key_usage, leaf_by_hand, root
from tests.support.pki_ca import bearer, running_ca
from tests.support.spiffe_ids import REFUSED
from tests.support.spiffe_judge import Judge, judging

DOMAIN = "cluster.local"
KEY = keys.generate()
DAY = 86_400


@pytest.fixture(name="judge", scope="module")
def judge_of_spiffe() -> Iterator[Judge]:
    with judging() as judge:
        yield judge


def ours(text: str) -> str:
    """Return the identity that we read, as text; empty if we refuse."""
    try:
        return str(parse_spiffe_id(text))
    except ValueError:
        return ""


def is_of_a_service(identity: str) -> bool:
    """Whether an identity that SPIFFE knows is one of Istio's form, and its names not too long."""
    domain, *path = identity.removeprefix("spiffe://").split("/")
    form = [*path[:1], *path[2:3]] == ["ns", "sa"] and len(path) == 4
    return form and len(domain) <= 255 and max(map(len, path)) <= 253


NAMES = st.text(string.ascii_letters + string.digits + "._-/%:@ ~\0\u00e9", max_size=12)
PARTS = st.sampled_from(
    ["spiffe://", "SPIFFE://", "cluster.local", "Cluster.local", "/", "ns", "sa"]
)
PARTS |= st.sampled_from(["/ns/", "/sa/", "shop", "bob", "..", ".", "%2e", "", "?", "#", "a" * 254])
TEXTS = (
    st.lists(PARTS | NAMES, max_size=8).map("".join)
    | st.builds("spiffe://{}/ns/{}/sa/{}".format, NAMES, NAMES, NAMES)
    | st.text(max_size=80)
)


@given(TEXTS)
def test_we_read_what_spiffes_library_reads_if_it_is_of_a_service(judge: Judge, text: str) -> None:
    theirs = judge.identity(text).identity
    assert ours(text) == (theirs if is_of_a_service(theirs) else "")


def test_what_we_refuse_is_refused_there_as_well_or_is_no_service(judge: Judge) -> None:
    permitted = [text for text in REFUSED if not judge.identity(text).error]
    said = f"identities: {len(REFUSED)} refused by us, {len(permitted)} of them not by SPIFFE\n"
    sys.stdout.write(said)
    assert not [text for text in permitted if is_of_a_service(text)]


def test_the_negative_control_a_parser_that_takes_apart_too_kindly(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ids, "_SEGMENT", ids.re.compile(r"[^/]+"))
    monkeypatch.setattr(ids, "_TRUST_DOMAIN", ids.re.compile(r"[^/]+"))
    different = [text for text in REFUSED if ours(text) and judge.identity(text).error]
    sys.stdout.write(f"identities, check off: disagreements = {len(different)}\n")
    assert len(different) > 10


async def test_what_the_ca_gives_is_an_svid(judge: Judge, tmp_path: Path) -> None:
    accounts = (BOB, EVE, SpiffeId(DOMAIN, "istio-system", "seine-config-push"))
    async with running_ca(tmp_path) as ca:
        for caller in accounts:
            key, request = csr.make_with_key(caller)
            *chain, roots = (await ca.ask(request, bearer(ca.token(caller)))).chain
            verdict = judge.certificate(
                "".join(chain).encode(),
                key,
                roots=roots.encode(),
                trust_domain=DOMAIN,
                now=SystemClock().now(),
            )
            assert (verdict.identity, verdict.error) == (str(caller), "")


ROOT = root()
BETWEEN = intermediate(ROOT)
URI = x509.UniformResourceIdentifier
SIGNING = {"digital_signature": True}
WRONG: dict[str, tuple[bytes, Authority]] = {
    "no URI": (leaf_by_hand(ROOT, KEY, names=(x509.DNSName("bob.shop"),)), ROOT),
    "two URIs": (leaf_by_hand(ROOT, KEY, names=(URI(str(BOB)), URI(str(EVE)))), ROOT),
    "https": (leaf_by_hand(ROOT, KEY, names=(URI("https://cluster.local/ns/shop/sa/bob"),)), ROOT),
    "no path": (leaf_by_hand(ROOT, KEY, names=(URI("spiffe://cluster.local"),)), ROOT),
    "dots": (leaf_by_hand(ROOT, KEY, names=(URI(f"spiffe://{DOMAIN}/ns/x/../sa/bob"),)), ROOT),
    "encoded": (leaf_by_hand(ROOT, KEY, names=(URI(f"spiffe://{DOMAIN}/ns/shop/sa/b%6fb"),)), ROOT),
    "a query": (leaf_by_hand(ROOT, KEY, names=(URI(f"{BOB}?x"),)), ROOT),
    "a port": (leaf_by_hand(ROOT, KEY, names=(URI(f"spiffe://{DOMAIN}:1/ns/shop/sa/bob"),)), ROOT),
    "other domain": (leaf_by_hand(ROOT, KEY, names=(URI("spiffe://evil/ns/shop/sa/bob"),)), ROOT),
    "CA": (leaf_by_hand(ROOT, KEY, ca=True), ROOT),
    "signs": (leaf_by_hand(ROOT, KEY, usage=key_usage(key_cert_sign=True, **SIGNING)), ROOT),
    "signs lists": (leaf_by_hand(ROOT, KEY, usage=key_usage(crl_sign=True, **SIGNING)), ROOT),
    "no signature": (leaf_by_hand(ROOT, KEY, usage=key_usage(key_agreement=True)), ROOT),
    "expired": (leaf_by_hand(ROOT, KEY, period=(NOW - DAY, NOW - 60)), ROOT),
    "not valid yet": (leaf_by_hand(ROOT, KEY, period=(NOW + 60, NOW + DAY)), ROOT),
    "another key": (leaf_by_hand(ROOT, keys.generate()), ROOT),
    "another root": (leaf_by_hand(root(), KEY), ROOT),
    "above no CA": (leaf_by_hand(by := intermediate(ROOT, ca=False), KEY), by),
    "above expired": (
        leaf_by_hand(by := intermediate(ROOT, period=(NOW - DAY, NOW - 60)), KEY),
        by,
    ),
    "above signs nothing": (
        leaf_by_hand(by := intermediate(ROOT, usage=key_usage(**SIGNING)), KEY),
        by,
    ),
    "too long a chain": (
        leaf_by_hand(by := intermediate(intermediate(ROOT, path_length=0)), KEY),
        by,
    ),
}


def verdicts(judge: Judge, leaf: bytes, by: Authority) -> tuple[str, str]:
    """Return why SPIFFE's library and we refuse a certificate for Bob's key; empty: it is taken."""
    chain = leaf + (bundle.to_pem(by.chain) if by is not ROOT else b"")
    theirs = judge.certificate(
        chain, keys.to_pem(KEY), roots=ROOT.root_pem, trust_domain=DOMAIN, now=NOW
    )
    template = Template(BOB, int(NOW) - 120, int(NOW) + DAY)
    try:
        verify.issued(
            leaf, template=template, key=KEY.public_key(), above=by.chain, roots=ROOT.roots, now=NOW
        )
    except PkiError as error:
        return theirs.error, str(error)
    return theirs.error, ""


def test_good_certificates_are_taken_by_both(judge: Judge) -> None:
    for by in (ROOT, BETWEEN):
        assert verdicts(judge, leaf_by_hand(by, KEY), by) == ("", "")


@pytest.mark.parametrize(("leaf", "by"), WRONG.values(), ids=WRONG.keys())
def test_bad_certificates_are_refused_by_both(leaf: bytes, by: Authority, judge: Judge) -> None:
    theirs, own = verdicts(judge, leaf, by)
    assert theirs
    assert own
