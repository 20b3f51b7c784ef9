"""Signing: a template and a public key become a certificate, which is checked before it leaves.

`issue` is the only way to get a certificate for a workload out of an authority.
"""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from libs.pki import bundle, verify
from libs.pki.authority import Authority
from libs.pki.keys import PublicKey
from libs.pki.template import Template


def issue(template: Template, key: PublicKey, *, authority: Authority, now: float) -> list[bytes]:
    """Return the PEM chain: leaf first, roots together last.

    Raises:
        CertificateError: what was signed is not what was meant; none of it may leave then.

    """
    signed = _sign(template, key, authority)
    leaf = bundle.to_pem([signed])
    verify.issued(
        leaf,
        template=template,
        key=key,
        above=authority.chain,
        roots=authority.roots,
        now=now,
    )
    between = [one for one in authority.chain if one not in authority.roots]
    return [leaf, *(bundle.to_pem([one]) for one in between), authority.root_pem]


def _sign(template: Template, key: PublicKey, authority: Authority) -> x509.Certificate:
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(str(template.identity))]
    names += [x509.DNSName(name) for name in template.dns_names]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    issuer_key = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))  # the identity is the URI alone; then RFC 5280 has it critical
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_moment(template.not_before))
        .not_valid_after(_moment(template.not_after))
        .add_extension(x509.SubjectAlternativeName(names), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(key), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key.value),
            critical=False,
        )
    )
    return builder.sign(authority.key, hashes.SHA256())


def _key_usage(key: PublicKey) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=isinstance(key, rsa.RSAPublicKey),  # RSA key exchange of TLS 1.2
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _moment(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
