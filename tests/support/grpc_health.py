"""A gRPC server that is well, as a program: `python -m tests.support.grpc_health PORT`."""

import sys
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


def main() -> None:
    """Serve until killed; a line on standard output says that it listens."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("shop", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("sick", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_insecure_port(f"0.0.0.0:{sys.argv[1]}")
    server.start()
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
