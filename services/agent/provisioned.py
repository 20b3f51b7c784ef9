"""Provisioned: the certificate that a machine keeps, and when it speaks instead of its token.

A pod's token is replaced by kubelet as long as the pod lives. A machine's is brought once, and has
expired an hour later. From then on, also after a restart, the machine proves itself with the
certificate that it was given before, as Istio's agents do with PROV_CERT. Tokens and certificates
come to different ports (ADR 3). A token that is still good goes first: the control plane looks at
the machine's group when it sees one.

Whose certificate it is, is not looked at here: whoever is shown it believes nothing else.
"""

import base64
import binascii
import math
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

MAX_TOKEN_BYTES = 8 * 1024
SKEW_SECONDS = 10.0
"""A token is given up that much earlier: on its way it would expire."""


class Provisioned(Struct, frozen=True):
    """Where a certificate lies, and who takes it; paths are texts, because this travels as JSON."""

    address: str
    """`host:port` of a port that asks for certificates."""
    server_name: str
    """Name that the certificate of that port must have."""
    chain: str
    key: str
    token_file: str

    def wanted(self, now: float) -> bool:
        """Tell whether to show the certificate: there is one, and no token that is good any more.

        Args:
            now: seconds since the epoch.

        """
        there = Path(self.chain).exists() and Path(self.key).exists()
        return there and expiry(Path(self.token_file)) < now + SKEW_SECONDS


class _Claims(Struct):
    exp: Annotated[float, Meta(ge=0)] = math.inf


def expiry(token_file: Path) -> float:
    """Return when the token in a file expires, as it says itself; 0 if there is none.

    Of one that does not say it, only the server knows: that one never expires here.
    """
    try:
        parts = token_file.read_bytes()[:MAX_TOKEN_BYTES].strip().split(b".")
    except OSError:
        return 0.0
    if parts == [b""]:
        return 0.0
    try:
        body = base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(body, type=_Claims).exp
    except (IndexError, binascii.Error, msgspec.MsgspecError, RecursionError, UnicodeError):
        return math.inf
