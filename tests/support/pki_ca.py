"""The real CA on loopback ports, with a token issuer that a test controls."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from msgspec import Struct

from libs.model.ids import SpiffeId
from libs.pki import bundle, csr, keys
from libs.protos.istio.ca.v1.ca_pb2 import IstioCertificateRequest, IstioCertificateResponse
from libs.rpc import channel, tls
from libs.runtime.clock import SystemClock
from services.ca import app
from services.ca.settings import Settings
from tests.support.tokens import honest

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
CA_NAME = "seine-ca.istio-system.svc"
BOB = SpiffeId("cluster.local", "shop", "bob")
Metadata = Sequence[tuple[str, str | bytes]]


class Answer(Struct, frozen=True):
    """A chain, or a code and the words with it."""

    chain: tuple[str, ...] = ()
    code: str = "OK"
    details: str = ""


class RunningCa:
    """What a test needs of a running CA."""

    def __init__(self, folder: Path, bound: app.Bound, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.bound = bound
        self.issuer = keys.load_or_generate(folder / "issuer.pem")
        self.token_channel: grpc.aio.Channel
        self._stack = stack

    @property
    def roots(self) -> bytes:
        return (self.folder / "root.pem").read_bytes()

    def token(self, identity: SpiffeId = BOB) -> str:
        return honest(identity, self.issuer, SystemClock().now())  # type: ignore[arg-type]

    async def connect(self, material: tls.Material | None = None) -> grpc.aio.Channel:
        """Return a channel to the token port, or with a certificate to the mTLS port."""
        credentials = (
            tls.trusting(self.roots)
            if material is None
            else tls.Keychain(material).channel_credentials()
        )
        port = self.bound.token if material is None else self.bound.mtls
        return await self._stack.enter_async_context(
            channel.connect(f"127.0.0.1:{port}", credentials=credentials, server_name=CA_NAME)
        )

    async def enrol(self, identity: SpiffeId = BOB) -> tls.Material:
        """Return a certificate that the CA gave `identity` for its token."""
        key, request = csr.make_with_key(identity)
        answer = await self.ask(request, bearer(self.token(identity)))
        assert answer.code == "OK", answer
        *chain, roots = (pem.encode() for pem in answer.chain)
        return tls.Material(key, b"".join(chain), roots, *bundle.validity(chain[0]))

    async def ask(
        self,
        request: bytes,
        metadata: Metadata = (),
        *,
        over: grpc.aio.Channel | None = None,
        lifetime: int = 0,
        wishes: dict[str, Any] | None = None,
    ) -> Answer:
        """Ask for a certificate with any CSR, headers, lifetime and metadata."""
        own = over or self.token_channel
        return await ask(own, request, metadata, lifetime=lifetime, wishes=wishes)


async def ask(
    over: grpc.aio.Channel,
    request: bytes,
    metadata: Metadata = (),
    *,
    lifetime: int = 0,
    wishes: dict[str, Any] | None = None,
) -> Answer:
    """Ask for a certificate with any CSR, headers, lifetime and metadata."""
    message = IstioCertificateRequest(validity_duration=lifetime)
    if wishes:
        message.metadata.update(wishes)
    return await send(over, _with_csr(message, request), metadata)


async def send(over: grpc.aio.Channel, body: bytes, metadata: Metadata = ()) -> Answer:
    """Send any bytes as a request."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, IstioCertificateResponse] = over.unary_unary(
        METHOD, response_deserializer=IstioCertificateResponse.FromString
    )
    try:
        answer = await call(body, metadata=tuple(metadata), timeout=20)
    except grpc.aio.AioRpcError as error:
        return Answer(code=error.code().name, details=error.details() or "")
    return Answer(chain=tuple(answer.cert_chain))


def bearer(token: str) -> Metadata:
    return [("authorization", f"Bearer {token}")]


def settings(folder: Path, **changes: Any) -> Settings:  # noqa: ANN401  # any setting
    """Return settings of a CA in `folder` on free ports, with the issuer's public key."""
    issuer = keys.load_or_generate(folder / "issuer.pem")
    (folder / "issuer-public.pem").write_bytes(keys.public_pem(issuer))
    own: dict[str, Any] = {
        "port": 0,
        "mtls_port": 0,
        "monitoring_port": 0,
        "ca_dir": folder / "ca",
        "root_file": folder / "root.pem",
        "token_keys_file": folder / "issuer-public.pem",
    }
    return Settings(**(own | changes))


@asynccontextmanager
async def running_ca(folder: Path, **changes: Any) -> AsyncIterator[RunningCa]:  # noqa: ANN401
    """Run a CA while the block runs."""
    async with app.running(settings(folder, **changes)) as bound, AsyncExitStack() as stack:
        ca = RunningCa(folder, bound, stack)
        ca.token_channel = await ca.connect()
        yield ca


def _with_csr(message: IstioCertificateRequest, request: bytes) -> bytes:
    """Put the CSR in as field 1 by hand: as text it would have to be UTF-8 already here."""
    length, size = len(request), bytearray()
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    size.append(length)
    return b"\x0a" + bytes(size) + request + message.SerializeToString()
