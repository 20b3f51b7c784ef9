"""Secrets: what the agent serves to its Envoy by name, and who waits for a change.

`default` is the workload's certificate and key, `ROOTCA` what it trusts. Whoever obtains them calls
`put`; a stream that serves them waits in `changed`. Where secrets come from is decided elsewhere.
"""

import asyncio
from hashlib import blake2b

from msgspec import Struct

from libs.protos.xds.v1 import relay_pb2

DEFAULT = "default"
ROOTCA = "ROOTCA"
TYPE_URL = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"


class Secret(Struct, frozen=True):
    """One secret as Envoy takes it. It holds a private key: it does not print it."""

    name: str
    version: str
    body: bytes

    def __repr__(self) -> str:
        return f"Secret({self.name})"


def certificate(name: str, *, chain: bytes, key: bytes) -> Secret:
    """Return the secret of a certificate chain with its key, both PEM."""
    message = relay_pb2.Secret(
        name=name,
        tls_certificate=relay_pb2.TlsCertificate(
            certificate_chain=relay_pb2.DataSource(inline_bytes=chain),
            private_key=relay_pb2.DataSource(inline_bytes=key),
        ),
    )
    return _secret(name, message)


def validation(name: str, *, roots: bytes) -> Secret:
    """Return the secret of the certificates, PEM, that a peer's chain must end in."""
    trusted = relay_pb2.DataSource(inline_bytes=roots)
    context = relay_pb2.ValidationContext(trusted_ca=trusted)
    return _secret(name, relay_pb2.Secret(name=name, validation_context=context))


def _secret(name: str, message: relay_pb2.Secret) -> Secret:
    body = message.SerializeToString(deterministic=True)
    return Secret(name, blake2b(body, digest_size=8).hexdigest(), body)


class Secrets:
    """The current secret of each name."""

    def __init__(self) -> None:
        self._secrets: dict[str, Secret] = {}
        self._turn = asyncio.Event()

    def put(self, *secrets: Secret) -> None:
        """Replace the secrets of these names, all at once, and wake every stream."""
        self._secrets.update((secret.name, secret) for secret in secrets)
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    def get(self, name: str) -> Secret | None:
        """Return the secret of a name, or None as long as there is none."""
        return self._secrets.get(name)

    def next_change(self) -> asyncio.Event:
        """Return the event that the next `put` sets. Take it before looking at what is there."""
        return self._turn
