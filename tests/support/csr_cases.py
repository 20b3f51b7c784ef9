"""Requests for certificates that ask for more than they should, or are not worth signing."""

from functools import cache
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from libs.model.ids import SpiffeId
from libs.pki import bundle, csr, keys
from tests.support.pki import curve, key_usage, request_by_hand
from tests.support.pki_ca import BOB, Answer

EVE = SpiffeId("cluster.local", "shop", "eve")
KEY = keys.generate()
GOOD = csr.make(KEY, BOB)
URI = x509.UniformResourceIdentifier
DAY = 86_400


def hand(**parts: Any) -> bytes:  # noqa: ANN401  # of request_by_hand
    return request_by_hand(KEY, algorithm=hashes.SHA256(), **parts)


GREEDY = {
    "another's URI": hand(names=[URI(str(EVE))]),
    "own and another's URI": hand(names=[URI(str(BOB)), URI(str(EVE))]),
    "the CA's DNS name": hand(names=[x509.DNSName("seine-ca.istio-system.svc")]),
    "an address": hand(names=[x509.IPAddress(ip_address("127.0.0.1"))]),
    "an email": hand(names=[x509.RFC822Name("eve@shop")]),
    "100 names": hand(names=[x509.DNSName(f"host{n}.example") for n in range(100)]),
    "another's common name": hand(common_name=str(EVE)),
    "CA:TRUE": hand(extensions=[x509.BasicConstraints(ca=True, path_length=None)]),
    "keyCertSign": hand(extensions=[key_usage(key_cert_sign=True, digital_signature=True)]),
    "any purpose": hand(
        extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])]
    ),
    "code signing": hand(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])]),
    "name constraints": hand(
        extensions=[
            x509.NameConstraints(permitted_subtrees=[x509.DNSName("x")], excluded_subtrees=None)
        ]
    ),
    "no names": hand(),
    "RSA 2048": request_by_hand(
        rsa.generate_private_key(65537, 2048), algorithm=hashes.SHA256(), names=[URI(str(EVE))]
    ),
    "P-384": request_by_hand(curve("P-384"), algorithm=hashes.SHA384(), names=[URI(str(EVE))]),
}
UNUSABLE = {
    "RSA 1024": request_by_hand(
        rsa.generate_private_key(65537, 1024),  # noqa: S505  # refused
        algorithm=hashes.SHA256(),
    ),
    "P-224": request_by_hand(curve("P-224"), algorithm=hashes.SHA256()),
    "Ed25519": request_by_hand(ed25519.Ed25519PrivateKey.generate()),
    "bad signature": GOOD.replace(GOOD[-60:-56], b"AAAA" if GOOD[-60:-56] != b"AAAA" else b"BBBB"),
    "empty": b"",
    "two blocks": GOOD + GOOD,
    "a certificate": GOOD.replace(b"CERTIFICATE REQUEST", b"CERTIFICATE"),
    "trailing garbage": GOOD + b"garbage",
    "20,000 names": b"-----BEGIN CERTIFICATE REQUEST-----\n" + b"A" * 744_000,
    "17 KiB": GOOD + b"\n" * 17_000,
    "not UTF-8": b"\xff\xfe" + GOOD,
    "NUL": GOOD + b"\0",
}


def unusable() -> dict[str, bytes]:
    """Return requests that are not worth signing, one of which takes two seconds to make."""
    return {**UNUSABLE, "RSA 16384": _rsa_16384()}


@cache
def _rsa_16384() -> bytes:
    """Return a request that such a key has signed; of two known primes, none has to be found."""
    first, second, exponent = 2**11213 - 1, 2**5171 - 2157, 65537
    private = pow(exponent, -1, (first - 1) * (second - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=first,
        q=second,
        d=private,
        dmp1=rsa.rsa_crt_dmp1(private, first),
        dmq1=rsa.rsa_crt_dmq1(private, second),
        iqmp=rsa.rsa_crt_iqmp(first, second),
        public_numbers=rsa.RSAPublicNumbers(exponent, first * second),
    )
    key = numbers.private_key(unsafe_skip_rsa_key_validation=True)
    return request_by_hand(key, algorithm=hashes.SHA256())


def deviations(answer: Answer, of: SpiffeId = BOB) -> list[str]:
    """Return what a certificate says beyond the identity of its caller."""
    leaf = bundle.parse(answer.chain[0].encode())[0]
    extensions = leaf.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    kinds = {type(extension.value) for extension in extensions}
    checks = {
        "names": list(names) == [URI(str(of))],
        "subject": list(leaf.subject) == [],
        "CA": not extensions.get_extension_for_class(x509.BasicConstraints).value.ca,
        "usage": usage.digital_signature and not usage.key_cert_sign and not usage.crl_sign,
        "purposes": set(purposes)
        == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH},
        "extensions": kinds
        <= {
            x509.SubjectAlternativeName,
            x509.BasicConstraints,
            x509.KeyUsage,
            x509.ExtendedKeyUsage,
            x509.SubjectKeyIdentifier,
            x509.AuthorityKeyIdentifier,
        },
        "life": (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == DAY + 120,
    }
    return [name for name, right in checks.items() if not right]
