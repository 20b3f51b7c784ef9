"""gRPC for the programs: the server's life, channels by service name, and who calls."""

from collections.abc import Awaitable, Callable, Mapping

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from examples.bookshop.programs import place, web

PORT = 9090


def channel(service: str) -> grpc.aio.Channel:
    """Return a channel to a service.

    The authority stays the service's name even if the environment gives an address instead, and
    a proxy that the environment names is for HTTP/1.1 only.
    """
    options = [("grpc.default_authority", f"{service}:{PORT}"), ("grpc.enable_http_proxy", 0)]
    return grpc.aio.insecure_channel(f"{place.host(service)}:{PORT}", options=options)


def headers(context: grpc.aio.ServicerContext) -> Mapping[str, str]:
    """Return what the caller, or our sidecar, sent along."""
    return {key: str(value) for key, value in context.invocation_metadata() or ()}


async def call(service: str, method: str, answer: Awaitable[Message]) -> place.Trail:
    """Await an answer and return what became of the call, with the answer under `body`."""
    try:
        result, body = "ok", MessageToDict(await answer, always_print_fields_with_no_presence=True)
    except grpc.aio.AioRpcError as error:
        result, body = f"{error.code().name} {(error.details() or '')[:80]}", {}
    peer = (service, PORT, "gRPC")
    trail = body.pop("trail", body)
    call = place.outcome(peer, request=f"POST {method}", result=result, answer=trail)
    return {**call, "body": body}


async def serve(register: Callable[[grpc.aio.Server], None]) -> None:
    """Serve until the process is told to end; calls under way may finish."""
    server = grpc.aio.server()
    register(server)
    server.add_insecure_port(f"{place.LISTEN}:{PORT}")
    await server.start()
    await web.until_told()
    await server.stop(grace=2)
