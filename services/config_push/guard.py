"""Guarded: an allow list for our own methods on a port that every proxy may use for ADS."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from services.config_push.ads import SERVICE


class Guarded(grpc.aio.ServerInterceptor):
    """Applies `allow` to everything but ADS, which authenticates each stream by itself."""

    def __init__(self, allow: grpc.aio.ServerInterceptor) -> None:
        self._allow = allow

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401  # as gRPC declares it
        """Return the method's handler, guarded unless it is ADS."""
        if handler_call_details.method.startswith(f"/{SERVICE}/"):
            return await continuation(handler_call_details)
        return await self._allow.intercept_service(continuation, handler_call_details)
