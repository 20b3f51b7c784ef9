"""Succession: whether one authority may follow another without cutting anybody off."""

from libs.pki import verify
from libs.pki.authority import Authority
from libs.pki.errors import AuthorityError, CertificateError


def check(old: Authority, new: Authority, *, now: float) -> None:
    """Check that `new` may sign at once.

    Raises:
        AuthorityError: what `old` signed would not verify any more, or what `new` signs would not
            verify with those who only have the old roots.

    """
    check_roots(old, new, now=now)
    try:
        verify.chain(new.chain, old.roots, now=now)
    except CertificateError as error:
        message = f"the new signer is under a root that nobody trusts yet: {error}"
        raise AuthorityError(message) from error


def check_roots(old: Authority, new: Authority, *, now: float) -> None:
    """Check that what `old` signed verifies under the roots of `new`.

    Raises:
        AuthorityError: it would not.

    """
    try:
        verify.chain(old.chain, new.roots, now=now)
    except CertificateError as error:
        message = f"the new roots would cut off what is in use: {error}"
        raise AuthorityError(message) from error
