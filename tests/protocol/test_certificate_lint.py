"""What the CA gives out, by the rules of RFC 5280 as a linter of certificates reads them."""

import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from libs.model.ids import SpiffeId
from libs.pki import bundle, keys
from tests.support.certificate_lint import findings
from tests.support.csr_cases import GREEDY
from tests.support.pki import intermediate, leaf_by_hand, root
from tests.support.pki_ca import bearer, running_ca

CONTROL_PLANE = SpiffeId("cluster.local", "istio-system", "seine-config-push")
LONG = SpiffeId("d" * 63, "n" * 63, "a" * 253)
LIFETIMES = {"a minute": 60, "the default": 0, "90 days": 90 * 86_400}


def worst(certificates: dict[str, x509.Certificate]) -> dict[str, list[str]]:
    found = {name: findings(of) for name, of in certificates.items()}
    return {name: texts for name, texts in found.items() if texts}


async def test_certificates_of_workloads(tmp_path: Path) -> None:
    """However they were asked for: greedy requests, all lifetimes, the control plane's names."""
    given: dict[str, x509.Certificate] = {}
    async with running_ca(tmp_path) as ca:
        for name, request in GREEDY.items():
            answer = await ca.ask(request, bearer(ca.token()))
            given[name] = bundle.parse(answer.chain[0].encode())[0]
        for name, seconds in LIFETIMES.items():
            answer = await ca.ask(GREEDY["no names"], bearer(ca.token()), lifetime=seconds)
            given[name] = bundle.parse(answer.chain[0].encode())[0]
        for identity in (CONTROL_PLANE, LONG):
            given[str(identity)] = bundle.parse((await ca.enrol(identity)).chain)[0]
    wrong = worst(given)
    sys.stdout.write(f"lint: {len(given)} certificates of workloads, findings = {len(wrong)}\n")
    assert wrong == {}


async def test_certificates_of_authorities(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        own = bundle.parse(ca.roots)[0]
    above = intermediate(root())  # the shape of what our tests plug in
    assert (
        worst({"the CA's root": own, "a root": above.roots[0], "one below": above.certificate})
        == {}
    )


URI = x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/bob")
WRONG = {
    "a CA without its usage": {"ca": True},
    "no key identifiers": {},
    "another's name twice over": {"names": (URI, x509.DNSName("under_score .example"))},
    "any purpose": {"purposes": (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,)},
}


@pytest.mark.parametrize("parts", WRONG.values(), ids=WRONG.keys())
def test_the_negative_control_certificates_made_by_hand(parts: dict[str, object]) -> None:
    leaf = leaf_by_hand(root(), keys.generate(), **parts)  # type: ignore[arg-type]
    said = findings(bundle.parse(leaf)[0])
    assert "pkix.authority_key_identifier_extension_absent" in said
    assert bool(parts.get("ca")) == ("pkix.ca_certificate_keycertsign_keyusage_not_set" in said)
