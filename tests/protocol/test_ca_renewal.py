"""The mTLS port: a certificate that is still valid proves who renews it; nothing else does."""

import sys
from pathlib import Path

from cryptography import x509

from libs.model.ids import SpiffeId
from libs.pki import authority, bundle, csr, keys, verify
from libs.rpc.tls import Material
from libs.runtime.clock import SystemClock
from tests.support.grpc_peers import material
from tests.support.pki import intermediate, leaf_by_hand
from tests.support.pki_ca import BOB, RunningCa, bearer, running_ca

EVE = SpiffeId("cluster.local", "shop", "eve")
URI = x509.UniformResourceIdentifier


async def test_a_certificate_renews_itself_whatever_else_is_said(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        first = await ca.enrol(BOB)
        over = await ca.connect(first)
        eves = bearer(ca.token(EVE))
        key, request = csr.make_with_key(EVE)
        answer = await ca.ask(request, eves, over=over)
    leaf = bundle.parse(answer.chain[0].encode())[0]
    assert verify.identity_of(leaf) == BOB
    assert keys.spki(keys.accepted(leaf.public_key())) == keys.spki(keys.load(key).public_key())


async def test_a_renewed_certificate_renews_again(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        current = await ca.enrol(BOB)
        for _ in range(3):
            key, request = csr.make_with_key()
            answer = await ca.ask(request, over=await ca.connect(current))
            current = Material(key, answer.chain[0].encode(), answer.chain[-1].encode())
        assert verify.identity_of(bundle.parse(current.chain)[0]) == BOB


def bad_certificates(ca: RunningCa) -> dict[str, Material]:
    now = SystemClock().now()
    own = authority.load(ca.folder / "ca", now=now)
    stranger = authority.generate("cluster.local", now=now)

    def by_hand(*names: x509.GeneralName, period: tuple[float, float] | None = None) -> Material:
        key = keys.generate()
        leaf = leaf_by_hand(own, key, names=names, period=period or (now - 60, now + 600))
        return Material(keys.to_pem(key), leaf, ca.roots)

    foreign = material(stranger, BOB)
    return {
        "foreign root of the same name": Material(foreign.key, foreign.chain, ca.roots),
        "expired": by_hand(URI(str(BOB)), period=(now - 600, now - 60)),
        "not valid yet": by_hand(URI(str(BOB)), period=(now + 600, now + 6000)),
        "no name": by_hand(x509.DNSName("bob.shop")),
        "two names": by_hand(URI(str(BOB)), URI(str(EVE))),
        "another trust domain": by_hand(URI("spiffe://other.domain/ns/shop/sa/bob")),
        "escaped": by_hand(URI("spiffe://cluster.local/ns/shop/sa/bob%2f..")),
        "no service": by_hand(URI("spiffe://cluster.local/node/bob")),
    }


async def test_bad_certificates_renew_nothing(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        granted = []
        cases = bad_certificates(ca)
        for name, shown in cases.items():
            answer = await ca.ask(csr.make_with_key()[1], over=await ca.connect(shown))
            assert answer.code in {"UNAUTHENTICATED", "UNAVAILABLE"}, name
            granted += [name] if answer.chain else []
    sys.stdout.write(f"certificates: {len(cases)} bad, wrong grants = {len(granted)}\n")
    assert granted == []


async def test_a_token_does_not_open_the_mtls_port(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        request = csr.make_with_key()[1]
        ca.bound = type(ca.bound)(ca.bound.mtls, ca.bound.mtls, ca.bound.monitoring)
        answer = await ca.ask(request, bearer(ca.token()), over=await ca.connect())
    assert answer.code == "UNAVAILABLE"


async def test_no_certificate_outlives_a_plugged_in_signer(tmp_path: Path) -> None:
    now = SystemClock().now()
    root = authority.generate("plugged", now=now)
    signer = intermediate(root, period=(now - 60, now + 3600))
    authority.save(signer, tmp_path / "ca")
    async with running_ca(tmp_path) as ca:
        answer = await ca.ask(csr.make_with_key()[1], bearer(ca.token()))
    assert len(answer.chain) == 3
    assert bundle.validity(answer.chain[0].encode())[1] == signer.validity[1]
    assert answer.chain[-1].encode() == root.root_pem
