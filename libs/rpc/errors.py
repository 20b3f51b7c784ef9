"""What this room raises.

RpcError
 ├─ CredentialError    the caller's credential is missing, ambiguous or malformed
 ├─ NotReadyError      this process has no certificate yet
 ├─ CaError            the CA did not give a certificate
 └─ GoneError          the caller has ended the call
"""


class RpcError(Exception):
    """Base of all errors of this room."""


class CredentialError(RpcError):
    """Answer UNAUTHENTICATED; the message is for the log."""


class NotReadyError(RpcError):
    """Wait for `Svid.ready` first."""


class CaError(RpcError):
    """Try again later: the CA was away, busy, or refused; its status is in the message."""


class GoneError(RpcError):
    """Nothing more can be written: end what served the call, in silence."""
