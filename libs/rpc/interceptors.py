"""Interceptors: what happens around every call, before a byte of its body is decoded.

An `Around` is an asynchronous context manager made for one call: it may refuse the call by raising,
turn errors that come out into status codes, or measure. Bodies are decoded inside it, so nobody who
is refused reaches a parser of messages.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from libs.model.ids import SpiffeId
from libs.rpc import peer
from libs.rpc.errors import CredentialError
from libs.rpc.peer import Context

Around = Callable[[str, Context], AbstractAsyncContextManager[None]]
Handler = Any
"""grpc.RpcMethodHandler, whose stubs do not know its fields."""

_MAKERS = {
    # (request streams, response streams) → (name of the behaviour, maker of a handler)
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}

HEALTH = ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")


class Intercept(grpc.aio.ServerInterceptor):
    """Puts an Around about every method of a server; a server's first one is the outermost."""

    def __init__(self, around: Around) -> None:
        self._around = around

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Return the method's handler with the Around about it."""
        handler: Handler = await continuation(handler_call_details)
        if handler is None:
            return handler  # gRPC answers UNIMPLEMENTED
        return _surrounded(handler, handler_call_details.method, self._around)


def allow(
    accounts: Mapping[str, Collection[str]], *, trust_domain: str, namespace: str
) -> grpc.aio.ServerInterceptor:
    """Let only certain service accounts of the system namespace call each method.

    Args:
        accounts: full method name (`/package.Service/Method`) → service accounts. What is not named
            here is refused. Health is open to every verified peer.
        trust_domain: whose identities are meant.
        namespace: the system namespace.

    """
    allowed = {
        method: frozenset(SpiffeId(trust_domain, namespace, account) for account in names)
        for method, names in accounts.items()
    }

    @asynccontextmanager
    async def around(method: str, context: Context) -> AsyncIterator[None]:
        caller = await _verified(context)
        if method not in HEALTH and caller not in allowed.get(method, ()):
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not allowed")
        yield

    return Intercept(around)


def map_errors(
    codes: Mapping[type[Exception], grpc.StatusCode],
    note: Callable[[str, Exception], None],
) -> grpc.aio.ServerInterceptor:
    """Answer errors with a status code and nothing else; gRPC itself would send the error's text.

    Args:
        codes: error type → code; the first type that fits, in order. Everything else is INTERNAL.
        note: is told the method and the error, for the log: the caller gets only the code's name.

    """

    @asynccontextmanager
    async def around(method: str, context: Context) -> AsyncIterator[None]:
        try:
            yield
        except grpc.aio.AbortError:
            raise  # has its code already
        except Exception as error:  # noqa: BLE001  # one bad call must not end the process
            note(method, error)
            fitting = (code for kind, code in codes.items() if isinstance(error, kind))
            code = next(fitting, grpc.StatusCode.INTERNAL)
            await context.abort(code, code.name.lower().replace("_", " "))

    return Intercept(around)


def observe(
    started: Callable[[str], Callable[[str], None]],
) -> grpc.aio.ServerInterceptor:
    """Tell `started` of each call, and what that returns of the call's end and its code's name."""

    @asynccontextmanager
    async def around(method: str, context: Context) -> AsyncIterator[None]:
        ended = started(method)
        try:
            yield
        finally:
            ended(_code_name(context))

    return Intercept(around)


async def _verified(context: Context) -> SpiffeId:
    try:
        caller = peer.identity(context)
    except CredentialError:
        caller = None
    if caller is None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no client certificate")
        raise AssertionError  # abort has raised
    return caller


def _code_name(context: Context) -> str:
    code: object = context.code()  # None if nobody gave one, whatever the stubs say
    return code.name if isinstance(code, grpc.StatusCode) else "OK"


def _surrounded(handler: Handler, method: str, around: Around) -> Handler:
    decode = handler.request_deserializer
    name, make = _MAKERS[handler.request_streaming, handler.response_streaming]
    behaviour = getattr(handler, name)

    def decoded(request: Any) -> Any:  # noqa: ANN401
        if handler.request_streaming:
            return _decoded_stream(request, decode)
        return decode(request) if decode else request

    async def call(request: Any, context: Context) -> Any:  # noqa: ANN401
        async with around(method, context):
            return await behaviour(decoded(request), context)

    async def stream(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401
        async with around(method, context):
            async for response in behaviour(decoded(request), context):
                yield response

    wrapped = stream if inspect.isasyncgenfunction(behaviour) else call
    return make(wrapped, None, handler.response_serializer)


async def _decoded_stream(
    requests: AsyncIterator[bytes], decode: Callable[[bytes], Any] | None
) -> AsyncIterator[Any]:
    async for request in requests:
        yield decode(request) if decode else request
