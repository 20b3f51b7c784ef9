"""The certificate process: what it accepts from a CA."""

import pytest

from libs.pki import keys
from libs.pki.errors import PkiError
from services.agent import certificate, issued
from services.agent.certificate import Failure
from services.agent.issued import IssueError, Order
from tests.support.certificates import Certificate, TestAuthority

DAY = 86400.0
ID = "spiffe://cluster.local/ns/shop/sa/web"


def chain(made: Certificate) -> list[str]:
    return [made.chain.decode(), made.roots.decode()]


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


def test_what_the_ca_gave_is_passed_on(authority: TestAuthority) -> None:
    made = authority.issue("web")
    got = certificate.issued(made.key, chain(made), now=authority._now, attempts=2)
    assert got.identity == ID
    assert got.not_before < authority._now < got.not_after
    assert (got.chain, got.roots, got.attempts) == (*chain(made), 2)


def test_a_certificate_for_another_key_is_refused(authority: TestAuthority) -> None:
    made = authority.issue("web")
    other = keys.to_pem(keys.generate())
    with pytest.raises(PkiError, match="another key"):
        certificate.issued(other, chain(made), now=authority._now, attempts=1)


def test_a_chain_that_does_not_end_in_its_root_is_refused(authority: TestAuthority) -> None:
    made, stranger = authority.issue("web"), TestAuthority().issue("web")
    with pytest.raises(PkiError):
        certificate.issued(
            made.key, [chain(made)[0], chain(stranger)[1]], now=authority._now, attempts=1
        )


def test_an_expired_certificate_is_refused(authority: TestAuthority) -> None:
    made = authority.issue("web")
    with pytest.raises(PkiError, match="expired"):
        certificate.issued(made.key, chain(made), now=authority._now + 2 * DAY, attempts=1)


async def test_files_that_are_missing_are_named_and_not_tried_again() -> None:
    order = Order("127.0.0.1:1", "ca.svc", "/no/root.pem", "/no/token", 60, ID)
    failure = await certificate.obtain(order)
    assert isinstance(failure, Failure)
    assert "/no/root.pem" in failure.error
    assert failure.attempts == 1


async def test_the_process_reports_what_went_wrong() -> None:
    order = Order("127.0.0.1:1", "ca.svc", "/no/root.pem", "/no/token", 60, ID)
    with pytest.raises(IssueError, match=r"/no/root\.pem"):
        await issued.order(order)


@pytest.mark.parametrize(("output", "code"), [(b"", 0), (b"{}", 0), (b"nonsense", 1), (b"", -9)])
def test_a_process_that_breaks_is_an_error_and_no_certificate(output: bytes, code: int) -> None:
    with pytest.raises(IssueError):
        issued._read(output, code)
