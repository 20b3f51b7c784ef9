"""Certificates of every shape for tests: honest ones by libs.pki, dishonest ones by hand."""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from libs.model.ids import SpiffeId
from libs.pki import authority, bundle, files, keys, sign, template
from libs.pki.authority import Authority

NOW = 1_800_000_000.0
BOB = SpiffeId("cluster.local", "shop", "bob")
ALICE = SpiffeId("cluster.local", "shop", "alice")

Change = Callable[[x509.CertificateBuilder], x509.CertificateBuilder]


def moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def chain_for(
    identity: SpiffeId, key: keys.PrivateKey, by: Authority, *, now: float = NOW, lifetime: int = 0
) -> list[bytes]:
    """Return what the CA would give."""
    planned = template.plan(
        identity,
        requested=lifetime,
        lifetimes=template.Lifetimes(),
        signer=by.validity,
        now=now,
    )
    return sign.issue(planned, key.public_key(), authority=by, now=now)


def key_usage(**set_bits: bool) -> x509.KeyUsage:
    names = [
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    ]
    return x509.KeyUsage(**{name: set_bits.get(name, False) for name in names})


def leaf_by_hand(
    by: Authority,
    key: keys.PrivateKey,
    *,
    names: Sequence[x509.GeneralName] = (x509.UniformResourceIdentifier(str(BOB)),),
    ca: bool = False,
    usage: x509.KeyUsage | None = None,
    purposes: Sequence[x509.ObjectIdentifier] = (
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ),
    period: tuple[float, float] = (NOW - 120, NOW + 86_400),
) -> bytes:
    """Return a leaf in PEM that may be wrong in any way."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(period[0]))
        .not_valid_after(moment(period[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(usage or key_usage(digital_signature=True), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    return bundle.to_pem([builder.sign(by.key, hashes.SHA256())])


def intermediate(
    above: Authority,
    *,
    organization: str = "intermediate",
    ca: bool = True,
    path_length: int | None = None,
    usage: x509.KeyUsage | None = None,
    period: tuple[float, float] = (NOW - 3600, NOW + 30 * 86_400),
) -> Authority:
    """Return an authority whose certificate was signed by another; perhaps a useless one."""
    key = keys.generate()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)]))
        .issuer_name(above.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(period[0]))
        .not_valid_after(moment(period[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(usage or key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key()),
            critical=False,
        )
    )
    between = [one for one in above.chain if one not in above.roots]
    return Authority(
        key=key,
        certificate=builder.sign(above.key, hashes.SHA256()),
        intermediates=between,
        roots=above.roots,
    )


def root(organization: str = "root", *, now: float = NOW) -> Authority:
    return authority.generate(organization, now=now)


def cert_manager_files(of: Authority, folder: Path) -> None:
    """Write an authority the way cert-manager does."""
    files.write_private(folder / "tls.key", keys.to_pem(of.key))
    files.write_public(folder / "tls.crt", bundle.to_pem(of.chain))
    files.write_public(folder / "ca.crt", of.root_pem)


def request_by_hand(
    key: object,
    *,
    names: Sequence[x509.GeneralName] = (),
    common_name: str = "",
    extensions: Sequence[x509.ExtensionType] = (),
    algorithm: hashes.HashAlgorithm | None = None,
) -> bytes:
    """Return a PKCS#10 request in PEM with whatever in it."""
    subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=True)
    signed = builder.sign(key, algorithm)  # type: ignore[arg-type]  # any key, that is the point
    return signed.public_bytes(serialization.Encoding.PEM)


def curve(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key({"P-224": ec.SECP224R1(), "P-384": ec.SECP384R1()}[name])
