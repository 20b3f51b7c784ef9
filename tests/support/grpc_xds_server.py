"""A program whose server is configured over xDS: it answers with the path and says who called.

`python -m tests.support.grpc_xds_server address:port`, with GRPC_XDS_BOOTSTRAP in its environment.
It takes whatever its configuration says: TLS, or none.
"""

import sys
from collections.abc import Callable
from concurrent import futures

import grpc


class _Everything(grpc.GenericRpcHandler):
    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.unary_unary_rpc_method_handler(_answer(handler_call_details.method))


def _answer(method: str) -> Callable[[bytes, grpc.ServicerContext], bytes]:
    def answer(_request: bytes, context: grpc.ServicerContext) -> bytes:
        names = context.peer_identities() or [b"nobody"]
        return b" ".join([method.encode(), *names])

    return answer


def main() -> None:
    server = grpc.server(futures.ThreadPoolExecutor(4), xds=True)
    server.add_generic_rpc_handlers((_Everything(),))
    fallback = grpc.insecure_server_credentials()
    server.add_secure_port(sys.argv[1], grpc.xds_server_credentials(fallback))
    server.start()
    sys.stdin.read()  # until whoever started it has gone
    server.stop(None)


if __name__ == "__main__":
    main()
