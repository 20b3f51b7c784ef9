"""CreateCertificate: the one method of the CA, for one kind of credential.

The order is the defence: the address' limit, the credential, the identity's limit, and only then is
the body decoded. Errors are raised here and answered by `services.ca.refusals`.
"""

from typing import Any

import grpc
import grpc.aio
from google.protobuf import struct_pb2
from google.protobuf.message import DecodeError
from msgspec import Struct

from libs.model.ids import SpiffeId
from libs.protos.istio.ca.v1.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from libs.rpc import peer
from libs.rpc.peer import Context
from services.ca import metrics
from services.ca.authn import Authenticate
from services.ca.errors import LimitedError, MalformedError, NotAllowedError
from services.ca.limits import Buckets
from services.ca.signing import Signer

SERVICE = "istio.v1.auth.IstioCertificateService"
METHOD = "CreateCertificate"


class Limits(Struct, frozen=True):
    """Who may ask how often."""

    peers: Buckets
    identities: Buckets


class Certificates:
    """Serves CreateCertificate to callers whom `authenticate` believes."""

    def __init__(self, authenticate: Authenticate, signer: Signer, limits: Limits) -> None:
        self._authenticate = authenticate
        self._signer = signer
        self._limits = limits

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server. Requests arrive as bytes, to be decoded after the checks."""
        method: Any = grpc.unary_unary_rpc_method_handler(
            self.create, None, IstioCertificateResponse.SerializeToString
        )
        handler = grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})
        server.add_generic_rpc_handlers((handler,))

    async def create(self, body: bytes, context: Context) -> IstioCertificateResponse:
        """Return the chain for the caller's key and the caller's own identity."""
        metrics.CSRS.inc()
        identity = self._identify(context)
        request = _decoded(body)
        with metrics.SIGN_SECONDS.time():
            chain = await self._signer.sign(
                identity, request.csr.encode(), lifetime=request.validity_duration
            )
        metrics.ISSUED.inc()
        return IstioCertificateResponse(cert_chain=chain)

    def _identify(self, context: Context) -> SpiffeId:
        if not self._limits.peers.take(peer.address(context)):
            raise LimitedError("peer")
        identity = self._authenticate(context)
        if not self._limits.identities.take(identity.principal):
            raise LimitedError("identity")
        return identity


def _decoded(body: bytes) -> IstioCertificateRequest:
    try:
        request = IstioCertificateRequest.FromString(body)
    except DecodeError as error:
        message = "the body is not an IstioCertificateRequest"
        raise MalformedError(message) from error
    # Agents always send CertSigner, empty unless they want another signer than this one.
    for name in ("ImpersonatedIdentity", "CertSigner"):
        if name in request.metadata.fields and not _empty(request.metadata.fields[name]):
            message = f"the metadata asks for {name}"
            raise NotAllowedError(message)
    return request


def _empty(value: struct_pb2.Value) -> bool:
    kind = value.WhichOneof("kind")
    return kind in {None, "null_value"} or (kind == "string_value" and not value.string_value)
