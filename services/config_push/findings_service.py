"""The Findings service: what became of patches, for discovery, over mTLS."""

from collections.abc import AsyncIterator

import grpc.aio

from libs.protos.findings.v1 import findings_pb2_grpc
from libs.protos.findings.v1.findings_pb2 import PatchList, WatchRequest
from libs.rpc.peer import Context
from services.config_push.findings import Findings

METHODS = ("/seine.findings.v1.Findings/Watch",)
READER = frozenset({"seine-discovery"})


class FindingsService(findings_pb2_grpc.FindingsServicer):
    """Answers from one list."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        findings_pb2_grpc.add_FindingsServicer_to_server(self, server)

    async def Watch(  # noqa: N802  # the protocol's name
        self, request: WatchRequest, context: Context
    ) -> AsyncIterator[PatchList]:
        """Stream the list whenever it has changed."""
        async for found in self._findings.follow():
            yield found
