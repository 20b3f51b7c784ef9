"""Certificates for tests: a real authority of libs.pki with keys of its own, and its workloads."""

import ssl
import time
from pathlib import Path

from cryptography import x509
from msgspec import Struct

from libs.model.ids import SpiffeId
from libs.pki import authority, keys, sign, template

TRUST_DOMAIN = "cluster.local"


class Certificate(Struct, frozen=True):
    """A workload's certificate chain and key, PEM."""

    chain: bytes
    key: bytes
    roots: bytes


class TestAuthority:
    """Issues to whoever is named."""

    __test__ = False

    def __init__(self, organization: str = "test") -> None:
        self._now = time.clock_gettime(time.CLOCK_REALTIME)
        self._authority = authority.generate(organization, now=self._now)

    def issue(
        self,
        account: str,
        namespace: str = "shop",
        trust_domain: str = TRUST_DOMAIN,
        dns_names: tuple[str, ...] = (),
    ) -> Certificate:
        key = keys.generate()
        planned = template.plan(
            SpiffeId(trust_domain, namespace, account),
            requested=0,
            lifetimes=template.Lifetimes(),
            signer=self._authority.validity,
            now=self._now,
            dns_names=dns_names,
        )
        chain = sign.issue(planned, key.public_key(), authority=self._authority, now=self._now)
        return Certificate(b"".join(chain[:-1]), keys.to_pem(key), chain[-1])


def client_context(
    certificate: Certificate | None, folder: Path, alpn: tuple[str, ...] = ()
) -> ssl.SSLContext:
    """Return a TLS client that proves `certificate` and judges the server's not at all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if certificate is not None:
        path = folder / "client.pem"
        path.write_bytes(certificate.chain + certificate.key)
        context.load_cert_chain(path)
    return context


def uris(der: bytes) -> list[str]:
    """Return the URI names in a certificate, as they are."""
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
