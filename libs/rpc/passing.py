"""Passing on: the headers with which config-push brings somebody's request for a certificate.

They count only on a call whose client certificate is that of a service that may pass on; whom the
CA believes is decided there. A token travels in the `authorization` header, as it came.
"""

from libs.rpc.errors import CredentialError
from libs.rpc.peer import Context

IDENTITY = "seine-caller-identity"
"""SPIFFE id in the client certificate that TLS verified."""
ADDRESS = "seine-caller-address"
"""The caller's network address without its port; for limits and logs only."""
MAX_CHARACTERS = 2048


def single(context: Context, name: str) -> str:
    """Return the value of a header that may be there once; empty if it is not there.

    Raises:
        CredentialError: it is there more than once, or too long, or not text.

    """
    values = [value for key, value in context.invocation_metadata() or () if key == name]
    if not values:
        return ""
    if len(values) > 1 or not isinstance(values[0], str) or len(values[0]) > MAX_CHARACTERS:
        message = f"the header {name} is not one short text"
        raise CredentialError(message)
    return values[0]
