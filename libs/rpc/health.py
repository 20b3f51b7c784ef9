"""Health: the standard gRPC health service, for clients that choose among servers.

Kubernetes asks the monitoring port instead, because its gRPC probes speak no TLS.
"""

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class Health:
    """The health of a server as a whole; serving from its start until it is said not to be."""

    def __init__(self) -> None:
        self._servicer = health.aio.HealthServicer()

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set(self, *, serving: bool) -> None:
        """Say whether calls should be sent here."""
        status = health_pb2.HealthCheckResponse.ServingStatus
        await self._servicer.set("", status.SERVING if serving else status.NOT_SERVING)
