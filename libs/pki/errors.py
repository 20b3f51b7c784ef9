"""What this room raises. Messages never hold key material, tokens or other people's input.

PkiError
 ├─ UnusableKeyError   a key that is unreadable, or of a kind that is not used here
 ├─ CsrError           a certificate request that is not worth signing
 ├─ LifetimeError      a validity that was asked for and will not be given
 ├─ CertificateError   a certificate that is not what it should be
 ├─ AuthorityError     a signing certificate, key or chain that cannot be used
 ├─ TokenError         a token that proves nothing
 └─ SealError          bytes that were not sealed by us, for this place
"""


class PkiError(Exception):
    """Base of all errors of this room."""


class UnusableKeyError(PkiError):
    """Make a P-256 key, or use RSA of 2048 to 4096 bits."""


class CsrError(PkiError):
    """Send one PEM block of PKCS#10 with a P-256, P-384 or RSA key that signed it."""


class LifetimeError(PkiError):
    """Ask for a shorter validity."""


class CertificateError(PkiError):
    """Do not use this certificate; if we signed it, this is a bug of ours."""


class AuthorityError(PkiError):
    """Look at the files of the signing certificate."""


class TokenError(PkiError):
    """Send a current token for the right audience."""


class SealError(PkiError):
    """Treat the value as absent."""
