"""TLS: certificates of our ports and channels, replaceable while they are in use.

gRPC's minimum is TLS 1.2 and our own services agree on 1.3. A port asks for its certificate at each
handshake, so a renewed one is used at once and open connections stay. A channel keeps the
certificate with which it was made: its holder makes a new one when the certificate has changed.
A port either requires a client certificate or asks for none: gRPC for Python has no third way.
"""

import time
from collections.abc import Callable
from typing import cast

import grpc
from msgspec import Struct

from libs.rpc.errors import NotReadyError

SWAP_SECONDS = 0.1
"""How long new handshakes wait, once, when the certificate has changed.

gRPC frees the old TLS context while another thread may be about to use it (grpc/grpc#36693), and
the process dies. It holds a lock while it asks us, so by waiting we let those threads get past that
point: swapping at each of 10,000 handshakes crashed at once without a pause, and never with 1 ms.
"""

Fetch = Callable[[], grpc.ServerCertificateConfiguration]


class Material(Struct, frozen=True):
    """A key with its certificates, all PEM. It holds a private key: it does not print it."""

    key: bytes
    chain: bytes  # leaf first, without roots
    roots: bytes  # whom to trust
    not_before: float = 0.0  # seconds since the epoch
    not_after: float = 0.0

    def __repr__(self) -> str:
        return f"Material(not_after={self.not_after:.0f})"

    __str__ = __repr__


class Keychain:
    """The current material of a process, shared by all its ports and replaced in one place."""

    def __init__(self, material: Material | None = None) -> None:
        self._material = material
        self._configuration = _configuration(material) if material else None

    @property
    def material(self) -> Material:
        """What to prove and whom to trust now.

        Raises:
            NotReadyError: nothing was obtained yet.

        """
        if self._material is None:
            message = "this process has no certificate yet"
            raise NotReadyError(message)
        return self._material

    def replace(self, material: Material) -> None:
        """Use `material` in every handshake from now on."""
        self._configuration = _configuration(material)
        self._material = material

    def server_credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        """Return credentials of a port that follow the keychain.

        Args:
            mutual: require a client certificate under the roots; else ask for none.

        Raises:
            NotReadyError: nothing was obtained yet.

        """
        used = self._configuration or _configuration(self.material)

        def changed() -> grpc.ServerCertificateConfiguration | None:
            # Called by gRPC's threads at each handshake; None keeps what the port has.
            nonlocal used
            latest = self._configuration
            if latest is used or latest is None:
                return None
            used = latest
            time.sleep(SWAP_SECONDS)
            return latest

        return grpc.dynamic_ssl_server_credentials(
            used, cast("Fetch", changed), require_client_authentication=mutual
        )

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return credentials of a channel with the certificate of this moment.

        Raises:
            NotReadyError: nothing was obtained yet.

        """
        material = self.material
        return grpc.ssl_channel_credentials(material.roots, material.key, material.chain)


def trusting(roots: bytes) -> grpc.ChannelCredentials:
    """Return credentials of a channel that shows no certificate and trusts `roots` (PEM)."""
    return grpc.ssl_channel_credentials(roots)


def _configuration(material: Material) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.chain)], root_certificates=material.roots
    )
