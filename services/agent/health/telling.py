"""Telling: the control plane hears how the workload is, on a stream of the agent's own.

It is said in requests of Istio's type for it: without an error the workload is well. A stream is
opened when there is something to say, begins with the latest verdict and says each that follows; of
verdicts in quick succession the last one counts, so nothing queues.
"""

import asyncio
import contextlib

from libs.protos.xds.v1 import relay_pb2
from libs.runtime.tasks import background
from services.agent.health.checker import Verdict
from services.agent.own_stream import OwnStream
from services.agent.streams.connection import Stream, StreamLostError
from services.agent.streams.messages import pack

TYPE_URL = "type.googleapis.com/istio.v1.HealthInformation"
MAX_REASON = 1024
_INTERNAL = 13


class Telling:
    """Tells verdicts; `run` never ends."""

    def __init__(self, own: OwnStream) -> None:
        self._own = own
        self._verdict: Verdict | None = None
        self._changed = asyncio.Event()

    def say(self, verdict: Verdict) -> None:
        """Tell this from now on."""
        self._verdict = verdict
        self._changed.set()

    async def run(self) -> None:
        """Tell until cancelled, once there is something to tell."""
        await self._changed.wait()
        await self._own.keep("stream of health ended", self._talk)

    async def _talk(self, stream: Stream) -> None:
        await stream.write(pack(self._own.introduction(self._request())))
        # A loss on either side is noticed by whoever reads; a group of tasks would wrap it.
        async with background(self._tell(stream)):
            with contextlib.suppress(StreamLostError):
                while await stream.read():
                    self._own.answered = True  # nothing need be answered; its end is awaited

    async def _tell(self, stream: Stream) -> None:
        with contextlib.suppress(StreamLostError):
            while True:
                await self._changed.wait()
                await stream.write(pack(self._request().SerializeToString()))

    def _request(self) -> relay_pb2.DeltaRequest:
        self._changed.clear()
        request = relay_pb2.DeltaRequest(type_url=TYPE_URL)
        if self._verdict is not None and not self._verdict.healthy:
            request.error_detail.code = _INTERNAL
            request.error_detail.message = self._verdict.reason[:MAX_REASON] or "not healthy"
        return request
