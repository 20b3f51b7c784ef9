"""Real gRPC servers and clients on loopback, with certificates of a test authority."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

from libs.model.ids import SpiffeId
from libs.pki import authority, keys, sign, template
from libs.pki.authority import Authority
from libs.rpc import tls
from libs.rpc.peer import Context
from libs.rpc.server import Registration
from libs.runtime.clock import SystemClock

SERVER_NAME = "seine-test.istio-system.svc"
SERVER = SpiffeId("cluster.local", "istio-system", "seine-test")
UNARY = "/test.Service/Unary"
STREAM = "/test.Service/Stream"

Behaviour = Callable[[bytes, Context], Awaitable[bytes]]
Decode = Callable[[bytes], bytes]


def test_root() -> Authority:
    return authority.generate("test", now=SystemClock().now())


test_root.__test__ = False  # type: ignore[attr-defined]


def material(
    by: Authority, identity: SpiffeId, *, dns_names: tuple[str, ...] = (), lifetime: int = 3600
) -> tls.Material:
    now = SystemClock().now()
    key = keys.generate()
    planned = template.plan(
        identity,
        requested=lifetime,
        lifetimes=template.Lifetimes(),
        signer=by.validity,
        now=now,
        dns_names=dns_names,
    )
    chain = sign.issue(planned, key.public_key(), authority=by, now=now)
    return tls.Material(keys.to_pem(key), b"".join(chain[:-1]), chain[-1])


def server_keychain(by: Authority) -> tls.Keychain:
    return tls.Keychain(material(by, SERVER, dns_names=(SERVER_NAME,)))


def unary(behaviour: Behaviour, decode: Decode | None = None) -> Registration:
    """Return a registration of one method, UNARY, that takes and gives bytes."""
    return _registration("Unary", grpc.unary_unary_rpc_method_handler(behaviour, decode, None))


def stream(
    behaviour: Any,  # noqa: ANN401  # whatever gRPC takes
    decode: Decode | None = None,
) -> Registration:
    """Return a registration of one method, STREAM."""
    return _registration("Stream", grpc.stream_stream_rpc_method_handler(behaviour, decode, None))


def _registration(name: str, handler: "grpc.RpcMethodHandler[Any, Any]") -> Registration:
    generic = grpc.method_handlers_generic_handler("test.Service", {name: handler})
    return lambda server: server.add_generic_rpc_handlers((generic,))


async def call(
    channel: grpc.aio.Channel,
    body: bytes = b"",
    *,
    method: str = UNARY,
    metadata: Sequence[tuple[str, str | bytes]] = (),
) -> bytes | grpc.StatusCode:
    """Return the answer, or the status code of a refusal."""
    try:
        ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        answer = await ask(body, metadata=tuple(metadata), timeout=10)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return answer
