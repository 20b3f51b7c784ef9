"""Credentials that prove nothing, shown to the real CA: it grants nothing and does not say why."""

import sys
from pathlib import Path

import pytest

from libs.model.ids import SpiffeId
from libs.pki import bundle, csr, verify
from libs.rpc import peer
from libs.rpc.peer import Context
from libs.runtime.clock import SystemClock
from services.ca import app
from services.ca.caller import Authenticate, Caller
from tests.support.pki_ca import BOB, Metadata, RunningCa, bearer, running_ca
from tests.support.tokens import claims_of, refused

REQUEST = csr.make_with_key(BOB)[1]


def bad_credentials(ca: RunningCa) -> dict[str, Metadata]:
    """Return name → headers: bad tokens in good headers, and good tokens in bad headers."""
    issuer, good = ca.issuer, ca.token()
    now = SystemClock().now()
    tokens = refused(BOB, issuer, now)  # type: ignore[arg-type]
    headers: dict[str, Metadata] = {
        "no header": [],
        "two headers": [*bearer(good), *bearer(good)],
        "a good and a bad header": [*bearer(good), *bearer("x")],
        "lower case scheme": [("authorization", f"bearer {good}")],
        "extra space": [("authorization", f"Bearer  {good}")],
        "trailing space and word": [("authorization", f"Bearer {good} x")],
        "no scheme": [("authorization", good)],
        "basic": [("authorization", f"Basic {good}")],
        "other header": [("x-authorization", f"Bearer {good}")],
        "binary header": [("authorization-bin", f"Bearer {good}".encode())],
        "token and 8 KiB": bearer(good + "." + "x" * 8192),
        "a megabyte": bearer("x" * 1_000_000),
        "forwarded certificate": [("x-forwarded-client-cert", f"By=x;URI={BOB}")],
    }
    return headers | {name: bearer(token) for name, token in tokens.items()}


async def wrong_grants(ca: RunningCa) -> tuple[list[str], set[tuple[str, str]]]:
    granted, said = [], set()
    for name, metadata in bad_credentials(ca).items():
        answer = await ca.ask(REQUEST, metadata)
        if answer.chain:
            granted.append(name)
        said.add((answer.code, answer.details))
    return granted, said


async def test_bad_credentials_get_nothing(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        granted, said = await wrong_grants(ca)
        assert (await ca.ask(REQUEST, bearer(ca.token()))).code == "OK"
        cases = len(bad_credentials(ca))
    sys.stdout.write(f"tokens: {cases} bad credentials, wrong grants = {len(granted)}\n")
    assert granted == []
    opaque = {("UNAUTHENTICATED", "unauthenticated")}
    transport = {
        (code, text) for code, text in said if code in {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
    }
    assert said - transport == opaque


async def test_the_negative_control_a_verifier_that_trusts_what_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same harness finds wrong grants when tokens are read but not verified."""

    def credulous(*_: object) -> Authenticate:
        async def authenticate(context: Context) -> Caller:
            try:
                binding = claims_of(peer.bearer_token(context))["kubernetes.io"]
            except (ValueError, KeyError, IndexError) as error:
                raise peer.CredentialError from error
            return Caller(SpiffeId("cluster.local", binding["namespace"], "bob"))

        return authenticate

    monkeypatch.setattr(app, "_by_token", credulous)
    async with running_ca(tmp_path) as ca:
        granted, _ = await wrong_grants(ca)
    sys.stdout.write(f"tokens, verification off: wrong grants = {len(granted)}\n")
    assert {"expired", "alg none", "HS256 with the public key", "other audience"} <= set(granted)
    assert "two headers" not in granted


async def test_each_caller_gets_its_own_identity(tmp_path: Path) -> None:
    callers = [SpiffeId("cluster.local", f"ns{n}", f"sa{n}") for n in range(5)]
    async with running_ca(tmp_path) as ca:
        for caller in callers:
            leaf = bundle.parse((await ca.enrol(caller)).chain)[0]
            assert verify.identity_of(leaf) == caller
