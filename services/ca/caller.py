"""Callers: who asks, as far as the credential of the call proves it."""

from collections.abc import Awaitable, Callable

from msgspec import Struct

from libs.model.ids import SpiffeId
from libs.rpc.peer import Context


class Caller(Struct, frozen=True):
    """One who proved an identity; with a token of a cluster also in which pod it stands, where."""

    identity: SpiffeId
    pod: str = ""
    pod_uid: str = ""
    node: str = ""
    """Name of the pod's node as the credential says it; empty if it does not."""


Authenticate = Callable[[Context], Awaitable[Caller]]
"""Raises CredentialError, TokenError or TokenRefusedError if the call proves no identity, and
another KubeError if that cannot be known now."""

Prove = Callable[[str], Awaitable[Caller]]
"""Returns whom a token proves; raises like Authenticate."""
