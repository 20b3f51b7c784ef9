"""Guarded: an allow list for our own methods on a port that every proxy may use for its own."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from services.config_push import ads, passing

OPEN = tuple(f"/{service}/" for service in (ads.SERVICE, passing.SERVICE))


class Guarded(grpc.aio.ServerInterceptor):
    """Applies `allow` to all but ADS and certificates, which authenticate each call themselves."""

    def __init__(self, allow: grpc.aio.ServerInterceptor) -> None:
        self._allow = allow

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401  # as gRPC declares it
        """Return the method's handler, guarded unless it is OPEN."""
        if handler_call_details.method.startswith(OPEN):
            return await continuation(handler_call_details)
        return await self._allow.intercept_service(continuation, handler_call_details)
