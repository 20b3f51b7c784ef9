"""Verification: certificates are what they should be, or an exception says why not.

Nothing here returns a bool that could be forgotten. What we signed ourselves is parsed again from
the bytes that would leave, so that a mistake in a template or a builder is caught before it grants
anything.
"""

import datetime
import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from libs.model.ids import SpiffeId, parse_spiffe_id
from libs.pki import bundle, keys
from libs.pki.errors import CertificateError
from libs.pki.template import Template

E = TypeVar("E", bound=x509.ExtensionType)

_USAGES = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def issued(
    leaf_pem: bytes,
    *,
    template: Template,
    key: keys.PublicKey,
    above: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    now: float,
) -> None:
    """Check that a certificate just signed says what `template` says, and nothing more.

    Args:
        leaf_pem: the bytes that would be sent.
        template: what was meant.
        key: the public key it was meant for.
        above: the signing certificate and its intermediates.
        roots: what peers trust.
        now: seconds since the epoch.

    Raises:
        CertificateError: it does not.

    """
    leaf = bundle.parse(leaf_pem)[0]
    if keys.spki(keys.of_certificate(leaf)) != keys.spki(key):
        _refuse("it is for another key")
    if leaf.not_valid_before_utc != _moment(template.not_before):
        _refuse("it starts at another time")
    if leaf.not_valid_after_utc != _moment(template.not_after):
        _refuse("it ends at another time")
    if identity_of(leaf) != template.identity:
        _refuse("it names another identity")
    if _dns_names(leaf) != template.dns_names:
        _refuse("it has other DNS names")
    _workload_extensions(leaf)
    chain([leaf, *above], roots, now=now)


def identity_of(leaf: x509.Certificate) -> SpiffeId:
    """Return the identity in a leaf: its only URI.

    Raises:
        CertificateError: it has no URI, several, or one that is not a SPIFFE id of a service.

    """
    names = _required(leaf, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        _refuse(f"it has {len(uris)} URI names and not one")
    try:
        return parse_spiffe_id(uris[0])
    except ValueError as error:
        raise CertificateError(str(error)) from error


def chain(
    certificates: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], *, now: float
) -> None:
    """Check that each certificate is valid now and issued by the next, and the last by a root.

    Raises:
        CertificateError: the chain does not hold.

    """
    path = list(certificates)
    if path[-1] not in roots:
        path.append(_issuer_among(roots, path[-1]))
    for certificate in path:
        _valid_at(certificate, _moment(now))
    for depth, (child, parent) in enumerate(itertools.pairwise(path)):
        _may_sign(parent, below=depth)
        _issued_by(child, parent)


def held(key: bytes, certificates: bytes, roots: bytes, *, now: float) -> None:
    """Check that a certificate somebody kept is good now and goes with the key; all are PEM.

    Raises:
        CertificateError: it is not, or has another key.
        UnusableKeyError: the key is none.

    """
    own = bundle.parse(certificates)
    chain(own, bundle.parse(roots), now=now)
    if keys.spki(keys.of_certificate(own[0])) != keys.spki(keys.of_private(key)):
        _refuse("it is for another key")


def holding(now: Callable[[], float]) -> Callable[[bytes, bytes, bytes], None]:
    """Return `held` as of the moment in which it is called; `now` tells wall seconds."""

    def check(key: bytes, certificates: bytes, roots: bytes) -> None:
        held(key, certificates, roots, now=now())

    return check


def may_sign(certificate: x509.Certificate) -> None:
    """Check that a certificate may sign those of workloads.

    Raises:
        CertificateError: it is not a CA's, or its key is not for signing.

    """
    _may_sign(certificate, below=0)


def _workload_extensions(leaf: x509.Certificate) -> None:
    if _required(leaf, x509.BasicConstraints).ca:
        _refuse("it is a CA")
    usage = _required(leaf, x509.KeyUsage)
    if not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        _refuse("its key usage is not that of a workload")
    if set(_required(leaf, x509.ExtendedKeyUsage)) != _USAGES:
        _refuse("its key is not for clients and servers alone")
    names = _required(leaf, x509.SubjectAlternativeName)
    if any(not isinstance(n, x509.UniformResourceIdentifier | x509.DNSName) for n in names):
        _refuse("it has names of a kind that is never issued")


def _dns_names(leaf: x509.Certificate) -> tuple[str, ...]:
    names = _required(leaf, x509.SubjectAlternativeName)
    return tuple(names.get_values_for_type(x509.DNSName))


def _may_sign(certificate: x509.Certificate, *, below: int) -> None:
    constraints = _required(certificate, x509.BasicConstraints)
    if not constraints.ca:
        _refuse("a certificate above the leaf is not a CA")
    if constraints.path_length is not None and constraints.path_length < below:
        _refuse("the chain is longer than a certificate above allows")
    usage = _optional(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        _refuse("a certificate above the leaf may not sign certificates")
    keys.of_certificate(certificate)


def _issued_by(child: x509.Certificate, parent: x509.Certificate) -> None:
    try:
        child.verify_directly_issued_by(parent)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm) as error:
        message = "a certificate of the chain was not issued by the next one"
        raise CertificateError(message) from error


def _issuer_among(
    roots: Sequence[x509.Certificate], certificate: x509.Certificate
) -> x509.Certificate:
    for root in roots:
        try:
            certificate.verify_directly_issued_by(root)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return root
    message = "no root issued the last certificate of the chain"
    raise CertificateError(message)


def _valid_at(certificate: x509.Certificate, moment: datetime.datetime) -> None:
    if moment < certificate.not_valid_before_utc:
        _refuse("a certificate of the chain is not valid yet")
    if moment > certificate.not_valid_after_utc:
        _refuse("a certificate of the chain has expired")


def _required(certificate: x509.Certificate, kind: type[E]) -> E:
    found = _optional(certificate, kind)
    if found is None:
        message = f"a certificate of the chain has no {kind.__name__}"
        raise CertificateError(message)
    return found


def _optional(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        message = "the extensions of a certificate cannot be read"
        raise CertificateError(message) from error


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def _refuse(reason: str) -> None:
    raise CertificateError(reason)
