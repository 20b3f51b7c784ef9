from pathlib import Path

import pytest

from libs.pki.errors import PkiError
from libs.pki.template import Lifetimes
from libs.rpc.errors import CaError
from services.ca import app
from services.ca.signing import Rules, Signer
from tests.support.clock import VirtualClock
from tests.support.pki import BOB, NOW, root
from tests.support.pki_ca import running_ca, settings


async def test_its_own_renewal_comes_back_when_the_queue_is_full() -> None:
    rules = Rules(Lifetimes(), "istio-system")
    authority = root()
    full = Signer(lambda: authority, rules, clock=VirtualClock(NOW), queue=0)
    with full, pytest.raises(CaError, match="queue"):
        await app._sign_own(full, BOB, b"")


async def test_it_is_ready_when_its_ports_are_open(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        assert ca.bound.token != ca.bound.mtls
        assert ca.roots.startswith(b"-----BEGIN CERTIFICATE-----")


async def test_it_does_not_start_without_keys_to_verify_tokens(tmp_path: Path) -> None:
    own = settings(tmp_path)
    (tmp_path / "issuer-public.pem").write_bytes(b"")
    with pytest.raises(PkiError):
        async with app.running(own):
            pass
