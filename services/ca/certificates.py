"""CreateCertificate: the one method of the CA, for one kind of credential.

The order is the defence: the address' limit, the credential, the identity's limit, and only then is
the body decoded. Errors are raised here and answered by `services.ca.refusals`.
"""

from collections.abc import Awaitable, Callable
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
from services.ca.caller import Authenticate, Caller
from services.ca.errors import LimitedError, MalformedError, NotAllowedError
from services.ca.limits import Buckets
from services.ca.signing import Signer

SERVICE = "istio.v1.auth.IstioCertificateService"
METHOD = "CreateCertificate"
IMPERSONATED = "ImpersonatedIdentity"

Impersonate = Callable[[Caller, str], Awaitable[SpiffeId]]
"""Returns the identity that a caller may have besides its own, by its SPIFFE id in the request.

Raises NotAllowedError, or UnsyncedError if that cannot be known yet."""


class Limits(Struct, frozen=True):
    """Who may ask how often."""

    peers: Buckets
    identities: Buckets


async def never(caller: Caller, wanted: str) -> SpiffeId:
    """Let nobody have another identity than its own."""
    del caller, wanted
    message = f"the metadata asks for {IMPERSONATED}"
    raise NotAllowedError(message)


class Certificates:
    """Serves CreateCertificate to callers whom `authenticate` believes."""

    def __init__(
        self,
        authenticate: Authenticate,
        signer: Signer,
        limits: Limits,
        *,
        address: Callable[[Context], str] = peer.address,
        impersonate: Impersonate = never,
    ) -> None:
        self._authenticate = authenticate
        self._signer = signer
        self._limits = limits
        self._address = address
        self._impersonate = impersonate

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
        caller = await self._identify(context)
        request = _decoded(body)
        identity = caller.identity
        if wanted := _impersonated(request):
            identity = await self._impersonate(caller, wanted)
        with metrics.SIGN_SECONDS.time():
            chain = await self._signer.sign(
                identity, request.csr.encode(), lifetime=request.validity_duration
            )
        metrics.ISSUED.inc()
        return IstioCertificateResponse(cert_chain=chain)

    async def _identify(self, context: Context) -> Caller:
        if not self._limits.peers.take(self._address(context)):
            raise LimitedError("peer")
        caller = await self._authenticate(context)
        if not self._limits.identities.take(caller.identity.principal):
            raise LimitedError("identity")
        return caller


def _decoded(body: bytes) -> IstioCertificateRequest:
    try:
        request = IstioCertificateRequest.FromString(body)
    except DecodeError as error:
        message = "the body is not an IstioCertificateRequest"
        raise MalformedError(message) from error
    # Agents always send CertSigner, empty unless they want another signer than this one.
    if not _empty(request.metadata.fields.get("CertSigner")):
        message = "the metadata asks for CertSigner"
        raise NotAllowedError(message)
    return request


def _impersonated(request: IstioCertificateRequest) -> str:
    """Return the identity asked for besides the caller's own; empty if there is none."""
    value = request.metadata.fields.get(IMPERSONATED)
    if value is None or _empty(value):
        return ""
    if value.WhichOneof("kind") != "string_value":
        message = f"{IMPERSONATED} is not a text"
        raise NotAllowedError(message)
    return value.string_value


def _empty(value: struct_pb2.Value | None) -> bool:
    kind = value.WhichOneof("kind") if value is not None else None
    if kind == "string_value" and value is not None:
        return not value.string_value
    return kind in {None, "null_value"}
