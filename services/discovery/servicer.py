"""Servicer: the MeshFeed service over gRPC. Who may call it is decided by the interceptors."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc

from libs.api import json_documents
from libs.api.check import check_raw
from libs.model import wire
from libs.protos.feed.v1 import feed_pb2, feed_pb2_grpc
from services.discovery.analyst import Analyst
from services.discovery.errors import FellBehindError
from services.discovery.feed import Feed
from services.discovery.problems import Problems, message

logger = logging.getLogger(__name__)
Context = grpc.aio.ServicerContext[Any, Any]


class MeshFeed(feed_pb2_grpc.MeshFeedServicer):
    """Streams the mesh and its problems."""

    def __init__(self, feed: Feed, problems: Problems, analyst: Analyst) -> None:
        self._feed = feed
        self._problems = problems
        self._analyst = analyst

    async def Subscribe(  # noqa: N802 - the method's name on the wire
        self, request: feed_pb2.SubscribeRequest, context: Context
    ) -> AsyncIterator[feed_pb2.MeshUpdate]:
        """Stream the snapshot and then all changes."""
        if request.schema != wire.SCHEMA:
            text = f"this discovery speaks schema {wire.SCHEMA}"
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, text)
        logger.info("subscribed to the mesh", extra={"subscriber": request.subscriber})
        try:
            async for update in self._feed.follow():
                yield update
        except FellBehindError:
            logger.warning("subscriber fell behind", extra={"subscriber": request.subscriber})
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "fell behind, subscribe again")

    async def WatchProblems(  # noqa: N802 - the method's name on the wire
        self,
        request: feed_pb2.WatchProblemsRequest,
        context: Context,
    ) -> AsyncIterator[feed_pb2.ProblemList]:
        """Stream the list of problems whenever it has changed."""
        async for problems in self._problems.follow():
            yield message(problems)

    async def Analyze(  # noqa: N802 - the method's name on the wire
        self, request: feed_pb2.AnalyzeRequest, context: Context
    ) -> feed_pb2.ProblemList:
        """Answer with what the analysis of the latest state notices."""
        return message(await self._analyst.findings())

    async def DryRun(  # noqa: N802 - the method's name on the wire
        self, request: feed_pb2.DryRunRequest, context: Context
    ) -> feed_pb2.ProblemList:
        """Answer with what would be wrong if the resource were applied."""
        raw, problems = json_documents.read(request.resource)
        resource = None
        if raw is not None:
            resource, problems = await asyncio.to_thread(check_raw, raw)
        if resource is None:
            return message(tuple(problems))
        return message((*problems, *await self._analyst.foresee(resource)))
