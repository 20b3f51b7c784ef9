"""gRPC-Web: browsers' gRPC becomes plain gRPC, on ports that are declared to speak it."""

from envoy.extensions.filters.http.grpc_web.v3.grpc_web_pb2 import GrpcWeb

from libs.xds.generate import typed

NAME = "envoy.filters.http.grpc_web"

FILTER = typed.http_filter(NAME, GrpcWeb())
"""For connection managers of ports whose protocol is gRPC-Web."""
