"""A machine whose token has expired proves itself with its certificate, and with nothing else."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from libs.model.ids import SpiffeId
from libs.pki import bundle, csr, keys, tokens, verify
from libs.rpc import ca_client
from libs.rpc.tls import Material
from libs.runtime.clock import SystemClock
from services.agent import certificate, files
from services.agent.certificate import Failure
from services.agent.issued import Issued, Order
from services.agent.provisioned import Provisioned
from tests.support.pki_ca import BOB, CA_NAME, RunningCa, running_ca

EVE = SpiffeId("cluster.local", "shop", "eve")
HOUR = 3600.0


class Machine:
    """A folder with a token and, once it has one, a certificate."""

    def __init__(self, ca: RunningCa) -> None:
        self._ca = ca
        self.folder = ca.folder / "machine"
        self.folder.mkdir()
        self.token_file = self.folder / "istio-token"

    def bring_token(self, *, age: float = 0.0, issuer: keys.PrivateKey | None = None) -> None:
        """Lay a token for an hour where the agent reads it."""
        made = tokens.mint(
            BOB,
            pod=tokens.Bound("pod", "uid"),
            key=issuer or self._ca.issuer,  # type: ignore[arg-type]
            now=SystemClock().now() - age,
            lifetime=HOUR,
        )
        self.token_file.write_text(made)

    def keep(self, key: str, chain: str) -> None:
        files.write_all(self.folder / "certs", chain=chain, key=key, roots=self._ca.roots.decode())

    @property
    def order(self) -> Order:
        certs = self.folder / "certs"
        return Order(
            ca_address=f"127.0.0.1:{self._ca.bound.token}",
            server_name=CA_NAME,
            root_file=str(self._ca.folder / "root.pem"),
            token_file=str(self.token_file),
            lifetime=600,
            identity=str(BOB),
            provisioned=Provisioned(
                address=f"127.0.0.1:{self._ca.bound.mtls}",
                server_name=CA_NAME,
                chain=str(certs / "cert-chain.pem"),
                key=str(certs / "key.pem"),
                token_file=str(self.token_file),
            ),
        )

    async def first(self) -> Issued:
        """Get and keep a certificate with a token that is good."""
        self.bring_token()
        got = await certificate.obtain(self.order)
        assert isinstance(got, Issued), got
        self.keep(got.key, got.chain)
        return got


async def test_a_machine_whose_token_has_expired_renews_with_its_certificate(
    tmp_path: Path,
) -> None:
    async with running_ca(tmp_path) as ca:
        machine = Machine(ca)
        first = await machine.first()
        machine.bring_token(age=2 * HOUR)
        second = await certificate.obtain(machine.order)
        assert isinstance(second, Issued), second
        assert (first.identity, second.identity) == (str(BOB), str(BOB))
        assert second.key != first.key
        machine.keep(second.key, second.chain)
        machine.token_file.unlink()
        third = await certificate.obtain(machine.order)
        assert isinstance(third, Issued), third


async def test_a_machine_that_was_not_told_the_trust_domain_renews(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        machine = Machine(ca)
        await machine.first()
        machine.token_file.unlink()
        told = replace(machine.order, identity=f"spiffe://elsewhere.example/{_path(BOB)}")
        got = await certificate.obtain(told)
        assert isinstance(got, Issued), got
        assert got.identity == str(BOB)


def _path(identity: SpiffeId) -> str:
    return f"ns/{identity.namespace}/sa/{identity.service_account}"


async def test_a_token_that_is_refused_is_followed_by_the_certificate(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        machine = Machine(ca)
        await machine.first()
        machine.bring_token(issuer=keys.generate())  # the cluster's keys have changed, say
        got = await certificate.obtain(machine.order)
        assert isinstance(got, Issued), got
        alone = await certificate.obtain(replace(machine.order, provisioned=None))
        assert isinstance(alone, Failure)


async def test_without_a_certificate_an_expired_token_gets_nothing(tmp_path: Path) -> None:
    async with running_ca(tmp_path) as ca:
        machine = Machine(ca)
        machine.bring_token(age=2 * HOUR)
        got = await certificate.obtain(machine.order)
        assert isinstance(got, Failure)
        assert "UNAUTHENTICATED" in got.error


async def test_the_certificate_of_another_machine_does_not_renew_this_identity(
    tmp_path: Path,
) -> None:
    async with running_ca(tmp_path) as ca:
        machine = Machine(ca)
        eves = await ca.enrol(EVE)
        machine.keep(eves.key.decode(), eves.chain.decode())
        machine.bring_token(age=2 * HOUR)
        got = await certificate.obtain(machine.order)
        assert isinstance(got, Failure)
        assert str(EVE) in got.error
        _, request = csr.make_with_key(BOB)  # an agent that does not look gets Eve's, not Bob's
        chain = await ca_client.renew(
            f"127.0.0.1:{ca.bound.mtls}", eves, request, server_name=CA_NAME
        )
        assert verify.identity_of(bundle.parse(chain[0].encode())[0]) == EVE


@pytest.mark.parametrize("spoiled", ["key", "chain"])
async def test_a_certificate_that_is_no_good_is_named(tmp_path: Path, spoiled: str) -> None:
    async with running_ca(tmp_path) as ca:
        machine = Machine(ca)
        first = await machine.first()
        other = await ca.enrol(BOB)
        mixed: Material = other
        key = mixed.key.decode() if spoiled == "key" else first.key
        chain = "nonsense" if spoiled == "chain" else first.chain
        machine.keep(key, chain)
        with_token = await certificate.obtain(machine.order)
        assert isinstance(with_token, Issued), with_token  # while there is a token, it is left out
        machine.token_file.unlink()
        without = await certificate.obtain(machine.order)
        assert isinstance(without, Failure)
        assert "the certificate at hand" in without.error
