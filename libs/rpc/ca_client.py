"""The CA as its clients see it: a request and a token go in, a chain comes out.

Speaks `istio.v1.auth.IstioCertificateService`, so it also works with other CAs of that protocol.
"""

from collections.abc import Sequence
from pathlib import Path

import grpc
import grpc.aio
from msgspec import Struct

from libs.protos.istio.ca.v1 import ca_pb2, ca_pb2_grpc
from libs.rpc import channel, tls
from libs.rpc.errors import CaError

TIMEOUT_SECONDS = 10.0


class CaAddress(Struct, frozen=True):
    """Where the CA is and how it is believed."""

    address: str
    root_file: Path
    """PEM; read at each call, so a new root needs no restart."""
    token_file: Path
    """The caller's token; read at each call, because tokens are short-lived."""
    server_name: str = "seine-ca.istio-system.svc"


async def sign(ca: CaAddress, request: bytes, *, lifetime: int = 0) -> Sequence[str]:
    """Return the PEM chain for a PEM request: leaf first, roots last.

    Args:
        ca: where to ask.
        request: PKCS#10 in PEM.
        lifetime: seconds; 0 leaves it to the CA.

    Raises:
        CaError: no chain was given, or the files cannot be read.

    """
    try:
        credentials = tls.trusting(ca.root_file.read_bytes())
        token = ca.token_file.read_text().strip()
    except OSError as error:
        message = f"cannot read {error.filename}"
        raise CaError(message) from error
    async with channel.connect(
        ca.address, credentials=credentials, server_name=ca.server_name
    ) as open_channel:
        return await ask(
            open_channel,
            request,
            lifetime=lifetime,
            metadata=[_authorization(token)],
        )


async def renew(
    address: str, own: tls.Material, request: bytes, *, server_name: str, lifetime: int = 0
) -> Sequence[str]:
    """Return the PEM chain for a request that a certificate proves instead of a token; see `sign`.

    Args:
        address: `host:port` that asks for certificates.
        own: the certificate to show, and the roots by which the server is believed.
        request: PKCS#10 in PEM.
        server_name: DNS name that the server's certificate must have.
        lifetime: seconds; 0 leaves it to the CA.

    Raises:
        CaError: no chain was given.

    """
    credentials = tls.Keychain(own).channel_credentials()
    async with channel.connect(
        address, credentials=credentials, server_name=server_name
    ) as open_channel:
        return await ask(open_channel, request, lifetime=lifetime)


def _authorization(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


async def ask(
    open_channel: grpc.aio.Channel,
    request: bytes,
    *,
    lifetime: int = 0,
    metadata: Sequence[tuple[str, str]] = (),
) -> Sequence[str]:
    """Return the chain that the CA behind `open_channel` gives; see `sign`."""
    call = ca_pb2_grpc.IstioCertificateServiceStub(open_channel).CreateCertificate
    message = ca_pb2.IstioCertificateRequest(csr=request.decode(), validity_duration=lifetime)
    try:
        answer = await call(message, metadata=tuple(metadata), timeout=TIMEOUT_SECONDS)
    except grpc.aio.AioRpcError as error:
        text = f"the CA answered {error.code().name}: {error.details()}"
        raise CaError(text) from error
    if len(answer.cert_chain) < 2:
        text = "the CA's answer has no root"
        raise CaError(text)
    return list(answer.cert_chain)
