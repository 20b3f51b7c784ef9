"""Requests that ask for more than they should, from a caller whose credential is good."""

import sys
from pathlib import Path

import pytest
from cryptography import x509
from msgspec.structs import replace

from libs.model.ids import SpiffeId
from libs.pki import bundle, csr, sign, verify
from libs.pki.authority import Authority
from libs.pki.keys import PublicKey
from libs.pki.template import Template
from services.ca import signing
from tests.support.csr_cases import DAY, EVE, GOOD, GREEDY, URI, deviations, unusable
from tests.support.pki_ca import BOB, RunningCa, bearer, running_ca, send


async def found(ca: RunningCa, requests: dict[str, bytes]) -> tuple[int, dict[str, list[str]]]:
    """Return how many requests were granted, and the deviations of each that has any."""
    granted, wrong = 0, {}
    for name, request in requests.items():
        answer = await ca.ask(request, bearer(ca.token()))
        if answer.chain:
            granted += 1
            if different := deviations(answer):
                wrong[name] = different
    return granted, wrong


async def test_whatever_a_request_asks_for_the_caller_gets_itself(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        granted, wrong = await found(ca, GREEDY)
    sys.stdout.write(
        f"requests: {len(GREEDY)} greedy, {granted} signed, deviations = {len(wrong)}\n"
    )
    assert wrong == {}
    assert granted == len(GREEDY)


async def test_requests_that_are_not_worth_signing_are_refused(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        codes = {
            name: (await ca.ask(request, bearer(ca.token()))).code
            for name, request in unusable().items()
        }
    wrong = {name: code for name, code in codes.items() if code == "OK"}
    sys.stdout.write(f"requests: {len(codes)} unusable, wrong grants = {len(wrong)}\n")
    assert wrong == {}
    assert set(codes.values()) <= {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}


async def test_the_negative_control_a_signer_that_copies_the_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same harness finds deviations when names come from the request and nothing is checked."""
    requests: list[bytes] = []
    honest_key, honest_sign = csr.public_key, sign._sign

    def remember(pem: bytes) -> PublicKey:
        requests.append(pem)
        return honest_key(pem)

    def copy(template: Template, key: PublicKey, by: Authority) -> x509.Certificate:
        wanted = x509.load_pem_x509_csr(requests[-1]).extensions
        try:
            names = wanted.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = names.get_values_for_type(URI)
            identity = verify.parse_spiffe_id(uris[-1])
        except (x509.ExtensionNotFound, IndexError):
            identity = template.identity
        changed = replace(template, identity=identity)
        return honest_sign(changed, key, by)

    monkeypatch.setattr(signing.csr, "public_key", remember)
    monkeypatch.setattr(sign, "_sign", copy)
    async with running_ca(tmp_path / "checked") as ca:
        answer = await ca.ask(GREEDY["another's URI"], bearer(ca.token()))
        assert answer.code == "INTERNAL"  # the check of what was signed stops it
        monkeypatch.setattr(verify, "issued", lambda *_, **__: None)
        _, wrong = await found(ca, GREEDY)
    sys.stdout.write(f"requests, checks off: deviations = {len(wrong)}\n")
    assert {"another's URI", "own and another's URI", "RSA 2048"} <= wrong.keys()


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [(0, DAY), (-1, DAY), (60, 60), (90 * DAY, 90 * DAY), (91 * DAY, None), (2**63 - 1, None)],
)
async def test_lifetimes(lifetime: int, seconds: int | None, tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        answer = await ca.ask(GOOD, bearer(ca.token()), lifetime=lifetime)
    if seconds is None:
        assert (answer.code, answer.chain) == ("INVALID_ARGUMENT", ())
    else:
        start, end = bundle.validity(answer.chain[0].encode())
        assert end - start == seconds + 120


@pytest.mark.parametrize("value", [str(EVE), [str(EVE)], {"id": str(EVE)}, 7, True])
async def test_no_impersonation_however_it_is_written(value: object, tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        for wish in ("ImpersonatedIdentity", "CertSigner"):
            answer = await ca.ask(GOOD, bearer(ca.token()), wishes={wish: value})
            assert (answer.code, answer.chain) == ("PERMISSION_DENIED", ())


async def test_what_istios_agent_always_sends_is_fine(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        headers = [*bearer(ca.token()), ("clusterid", "Kubernetes")]
        answer = await ca.ask(GOOD, headers, wishes={"CertSigner": "", "ClusterID": "x"})
    assert answer.code == "OK"
    assert len(answer.chain) == 2


@pytest.mark.parametrize("body", [b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x05ab", b"{}"])
async def test_bytes_that_are_no_message(body: bytes, tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        answer = await send(ca.token_channel, body, bearer(ca.token()))
        assert answer.code == "INVALID_ARGUMENT"
        stranger = await send(ca.token_channel, body)
        assert stranger.code == "UNAUTHENTICATED"  # nobody parses a stranger's bytes


async def test_one_key_for_two_identities_gives_each_its_own(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        for caller in (BOB, EVE):
            answer = await ca.ask(GOOD, bearer(ca.token(caller)))
            assert deviations(answer, caller) == []


async def test_control_plane_accounts_get_their_dns_names_and_nobody_else(tmp_path: Path) -> None:
    system = "istio-system"
    expected = {
        SpiffeId("cluster.local", system, "seine-discovery"): ["seine-discovery.istio-system.svc"],
        SpiffeId("cluster.local", system, "seine-config-push"): [
            "seine-config-push.istio-system.svc",
            "istiod.istio-system.svc",
        ],
        SpiffeId("cluster.local", system, "istiod"): [],
        SpiffeId("cluster.local", system, "seine-x.evil"): [],
        SpiffeId("cluster.local", system, "default"): [],
        SpiffeId("cluster.local", "shop", "seine-ca"): [],
    }
    async with running_ca(tmp_path) as ca:
        for caller, names in expected.items():
            leaf = bundle.parse((await ca.enrol(caller)).chain)[0]
            own = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert own.get_values_for_type(x509.DNSName) == names, caller
            assert verify.identity_of(leaf) == caller
