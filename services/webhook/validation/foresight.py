"""Foresight: what applying a resource would make of the mesh, asked of discovery.

A question has little time, because somebody waits for admission. The channel is made anew when this
service's certificate changes.
"""

import logging
from collections.abc import Callable

import grpc
import grpc.aio

from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from libs.protos.feed.v1.feed_pb2 import DryRunRequest, ProblemList
from libs.protos.feed.v1.feed_pb2_grpc import MeshFeedStub
from services.webhook.validation.errors import UnforeseenError

logger = logging.getLogger(__name__)

SECONDS = 1.0
"""Far below the ten seconds that an API server gives to an admission."""


class Foresight:
    """Asks discovery. Close it when done."""

    def __init__(self, connect: Callable[[], grpc.aio.Channel]) -> None:
        self._connect = connect
        self._channel: grpc.aio.Channel | None = None
        self._outdated: list[grpc.aio.Channel] = []

    def renew(self) -> None:
        """Use a new channel from now on; questions that are on their way still get answers."""
        if self._channel is not None:
            self._outdated.append(self._channel)
            self._channel = None

    async def foresee(self, resource: bytes) -> list[Problem]:
        """Return what would be wrong with a resource (JSON), and by it with others.

        Raises:
            UnforeseenError: discovery did not answer in time, or not at all.

        """
        await self._drop_outdated()
        if self._channel is None:
            self._channel = self._connect()
        request = DryRunRequest(resource=resource)
        try:
            answer = await MeshFeedStub(self._channel).DryRun(request, timeout=SECONDS)
        except grpc.aio.AioRpcError as error:
            logger.warning("discovery did not say", extra={"code": error.code().name})
            text = f"discovery answers {error.code().name}"
            raise UnforeseenError(text) from error
        return _problems(answer)

    async def close(self) -> None:
        """Close all channels."""
        self.renew()
        await self._drop_outdated()

    async def _drop_outdated(self) -> None:
        while self._outdated:
            await self._outdated.pop().close(grace=SECONDS)


def _problems(answer: ProblemList) -> list[Problem]:
    return [
        Problem(Ref(it.ref), it.path, it.reason, it.text, Severity(it.severity))
        for it in answer.problems
    ]
