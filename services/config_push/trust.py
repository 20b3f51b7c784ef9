"""Trust: which roots the connected proxies say that they trust, counted for the CA.

The agent says it in a header of each stream, and opens its streams anew when it changes. An agent
that had no certificate yet when it opened its stream says `none`: it got one after that, with the
bundle of that moment. An agent that is not ours says nothing, and is not counted as trusting.
"""

import grpc.aio

from libs.protos.trust.v1 import trust_pb2_grpc
from libs.protos.trust.v1.trust_pb2 import CountReply, CountRequest
from libs.rpc.passing import single
from libs.rpc.peer import Context
from services.config_push.connection import Connection
from services.config_push.connections import Connections

HEADER = "seine-trusted-roots"
NONE = "none"
METHODS = ("/seine.trust.v1.Trust/Count",)
MAX_NAMED = 10


def said(context: Context) -> frozenset[str] | None:
    """Return the roots that a stream's header names; None if it has none.

    Raises:
        CredentialError: the header is there twice, or too long.

    """
    text = single(context, HEADER)
    return frozenset(text.split(",")) if text else None


class TrustService(trust_pb2_grpc.TrustServicer):
    """Answers the CA."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        trust_pb2_grpc.add_TrustServicer_to_server(self, server)

    async def Count(self, request: CountRequest, context: Context) -> CountReply:  # noqa: N802
        """Count who is connected, and who of them trusts a root."""
        del context
        proxies = [one for one in self._connections if not one.of_agent]
        others = [one for one in proxies if not _trusts(one, request)]
        return CountReply(
            connected=len(proxies),
            trusting=len(proxies) - len(others),
            others=[one.proxy_id for one in others[:MAX_NAMED]],
        )


def _trusts(proxy: Connection, request: CountRequest) -> bool:
    trusted = proxy.peer.trusted
    if trusted is None:
        return False
    return request.root in trusted or (NONE in trusted and proxy.connected > request.since)
