"""Authorities: a signing certificate, its key, and the chain from it to a root.

Plugged-in authorities come as the four files of Istio's `cacerts` Secret, or cert-manager's three.
Without them a root is generated and kept, so that a restart does not change everybody's trust.
Which authority signs when, while they rotate, is not decided here: see `libs.pki.slots`.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from libs.pki import bundle, files, keys, verify
from libs.pki.errors import AuthorityError, CertificateError, UnusableKeyError

ROOT_LIFETIME = datetime.timedelta(days=3650)
_ISTIO = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
_CA_KEY_USAGE = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
_CERT_MANAGER = ("tls.crt", "tls.key", "tls.crt", "ca.crt")


class Authority:
    """Signs for a trust domain. It holds a private key: it never prints or serialises itself."""

    __slots__ = ("certificate", "intermediates", "key", "roots")

    def __init__(
        self,
        *,
        key: keys.PrivateKey,
        certificate: x509.Certificate,
        intermediates: Sequence[x509.Certificate],
        roots: Sequence[x509.Certificate],
    ) -> None:
        self.key = key
        self.certificate = certificate
        self.intermediates = tuple(intermediates)
        """From the signing certificate up to, and without, the root; empty if the root signs."""
        self.roots = tuple(roots)

    def __repr__(self) -> str:
        return f"Authority({self.certificate.fingerprint(hashes.SHA256()).hex()[:16]})"

    def __reduce__(self) -> str:
        message = "an Authority is not serialised"
        raise TypeError(message)

    @property
    def validity(self) -> tuple[float, float]:
        """`(not before, not after)` of the chain: the latest start and the earliest end."""
        return (
            max(one.not_valid_before_utc.timestamp() for one in self.chain),
            min(one.not_valid_after_utc.timestamp() for one in self.chain),
        )

    @property
    def chain(self) -> list[x509.Certificate]:
        """The signing certificate and those between it and the root."""
        return [self.certificate, *self.intermediates]

    @property
    def root_pem(self) -> bytes:
        """What others must trust."""
        return bundle.to_pem(self.roots)


def generate(
    organization: str, *, now: float, lifetime: datetime.timedelta = ROOT_LIFETIME
) -> Authority:
    """Return a fresh self-signed root."""
    key = keys.generate()
    return Authority(
        key=key,
        certificate=(root := _self_signed(key, organization, (now, lifetime))),
        intermediates=(),
        roots=(root,),
    )


def load(folder: Path, *, now: float) -> Authority:
    """Return the authority whose files are in `folder`.

    Raises:
        AuthorityError: files are missing, unreadable, open to everybody, or do not fit together.

    """
    names = _CERT_MANAGER if (folder / "tls.crt").exists() else _ISTIO
    certificate, key, chain, root = (folder / name for name in names)
    try:
        files.refuse_readable_by_others(key)
        signing = bundle.parse(certificate.read_bytes())
        above = bundle.parse(chain.read_bytes()) if chain.exists() else signing
        loaded = Authority(
            key=keys.load(key.read_bytes()),
            certificate=signing[0],
            intermediates=_without_roots(bundle.union(signing, above)[1:]),
            roots=bundle.parse(root.read_bytes()),
        )
    except (OSError, UnusableKeyError, CertificateError) as error:
        message = f"cannot load the signing certificate in {folder}: {error}"
        raise AuthorityError(message) from error
    check(loaded, now=now)
    return loaded


def load_or_generate(folder: Path, organization: str, *, now: float) -> Authority:
    """Return the authority in `folder`; make a self-signed root there if the folder has none.

    Raises:
        AuthorityError: what is there cannot be used. It is never replaced silently.

    """
    if any((folder / name).exists() for name in {*_ISTIO, *_CERT_MANAGER}):
        return load(folder, now=now)
    made = generate(organization, now=now)
    save(made, folder)
    return made


def save(authority: Authority, folder: Path) -> None:
    """Write Istio's four files into `folder`; the key is readable by its owner only."""
    certificate, key, chain, root = (folder / name for name in _ISTIO)
    files.write_private(key, keys.to_pem(authority.key))
    files.write_public(chain, bundle.to_pem(authority.chain))
    files.write_public(root, authority.root_pem)
    files.write_public(certificate, bundle.to_pem([authority.certificate]))


def check(authority: Authority, *, now: float) -> None:
    """Check that key, certificate, chain and root fit together and are valid now.

    Raises:
        AuthorityError: they do not, or are not.

    """
    try:
        own = keys.spki(keys.of_certificate(authority.certificate))
        verify.may_sign(authority.certificate)
        verify.chain(authority.chain, authority.roots, now=now)
    except (CertificateError, UnusableKeyError) as error:
        raise AuthorityError(str(error)) from error
    if keys.spki(authority.key.public_key()) != own:
        message = "the key does not belong to the signing certificate"
        raise AuthorityError(message)


def _without_roots(certificates: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    return [one for one in certificates if one.subject != one.issuer]


def _self_signed(
    key: keys.PrivateKey, organization: str, period: tuple[float, datetime.timedelta]
) -> x509.Certificate:
    start = datetime.datetime.fromtimestamp(int(period[0]) - 120, datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)])
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + period[1])
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_CA_KEY_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )
    return builder.sign(key, hashes.SHA256())
