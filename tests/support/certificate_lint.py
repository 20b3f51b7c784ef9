"""A judge of certificates that is not ours: pkilint's rules of RFC 5280 and what it refers to.

What it only notes (such as how a key identifier was made) is no finding here.
"""

from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader
from pkilint.pkix import certificate, extension, name
from pkilint.validation import ValidationFindingSeverity, ValidatorContainer

# It looks URIs up in a list of schemes, and that has no `spiffe`: any URI of ours is one of these.
UNKNOWN_SCHEME = 'pkix.invalid_uri_syntax: Invalid URI syntax: "spiffe://'


def findings(of: x509.Certificate) -> list[str]:
    """Return what is wrong with a certificate, or worth a warning; an empty list if nothing is."""
    document = loader.load_certificate(of.public_bytes(Encoding.DER), "certificate")
    said = [
        f"{found.finding.code}: {found.message or ''}".rstrip(": ")
        for result in _rules().validate(document.root)
        for found in result.finding_descriptions
        if found.finding.severity < ValidationFindingSeverity.NOTICE
    ]
    return [text for text in said if not text.startswith(UNKNOWN_SCHEME)]


@cache
def _rules() -> ValidatorContainer:
    return certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
