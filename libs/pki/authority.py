"""Authorities: a signing certificate, its key, and the chain from it to a root.

Plugged-in authorities come as the four files of Istio's `cacerts` Secret, or cert-manager's three.
Without them a root is generated and kept, so that a restart does not change everybody's trust.
Which authority signs when, while they rotate, is not decided here: see `libs.pki.slots`.
"""

import datetime
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from libs.pki import bundle, files, keys, verify
from libs.pki.errors import AuthorityError, CertificateError, UnusableKeyError

ROOT_SECONDS = 3650 * 86_400.0
_ISTIO = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
Certificate = x509.Certificate
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
NAMES = frozenset({*_ISTIO, *_CERT_MANAGER})
"""The names under which files and Secrets hold an authority, in either layout."""


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


def generate(organization: str, *, now: float, lifetime: float = ROOT_SECONDS) -> Authority:
    """Return a fresh self-signed root that lives for `lifetime` seconds."""
    key = keys.generate()
    return Authority(
        key=key,
        certificate=(
            root := _self_signed(key, organization, (now, datetime.timedelta(seconds=lifetime)))
        ),
        intermediates=(),
        roots=(root,),
    )


def load(folder: Path, *, now: float) -> Authority:
    """Return the authority whose files are in `folder`.

    Raises:
        AuthorityError: files are missing, unreadable, open to everybody, or do not fit together.

    """
    try:
        names = [name for name in NAMES if (folder / name).exists()]
        files.refuse_readable_by_others(folder / _layout(names)[1])
        content = {name: (folder / name).read_bytes() for name in names}
    except (OSError, UnusableKeyError) as error:
        message = f"cannot load the signing certificate in {folder}: {error}"
        raise AuthorityError(message) from error
    return parse(content, now=now)


def parse(content: Mapping[str, bytes], *, now: float) -> Authority:
    """Return the authority that `content` holds: name of a file, or of a Secret's key → PEM.

    Raises:
        AuthorityError: something is missing, unreadable, or does not fit together.

    """
    loaded = read(content)
    check(loaded, now=now)
    return loaded


def read(content: Mapping[str, bytes]) -> Authority:
    """Return the authority that `content` holds, not yet checked: see `check`.

    Raises:
        AuthorityError: something is missing or unreadable.

    """
    certificate, key, chain, root = _layout(content)
    try:
        signing = bundle.parse(content[certificate])
        above = bundle.parse(content[chain]) if content.get(chain) else signing
        return Authority(
            key=keys.load(content[key]),
            certificate=signing[0],
            intermediates=_without_roots(bundle.union(signing, above)[1:]),
            roots=bundle.parse(content[root]),
        )
    except KeyError as error:
        message = f"the signing certificate has no {error.args[0]}"
        raise AuthorityError(message) from error
    except (UnusableKeyError, CertificateError) as error:
        message = f"cannot load the signing certificate: {error}"
        raise AuthorityError(message) from error


def to_content(authority: Authority) -> dict[str, bytes]:
    """Return the authority in Istio's layout; `parse` reads it back. It holds the private key."""
    certificate, key, chain, root = _ISTIO
    return {
        certificate: bundle.to_pem([authority.certificate]),
        key: keys.to_pem(authority.key),
        chain: bundle.to_pem(authority.chain),
        root: authority.root_pem,
    }


def identifier(certificate: x509.Certificate) -> str:
    """Return the name of a certificate in slots and reports: half of its SHA-256, in hex."""
    return certificate.fingerprint(hashes.SHA256()).hex()[:32]


def load_or_generate(folder: Path, organization: str, *, now: float) -> Authority:
    """Return the authority in `folder`; make a self-signed root there if the folder has none.

    Raises:
        AuthorityError: what is there cannot be used. It is never replaced silently.

    """
    if any((folder / name).exists() for name in NAMES):
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


def _layout(names: Container[str]) -> tuple[str, str, str, str]:
    return _CERT_MANAGER if "tls.crt" in names else _ISTIO


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
