"""Wiring of statuses: what every replica of discovery knows, and what its leader does with it."""

import socket
import uuid
from collections.abc import Callable, Coroutine
from typing import Any

from libs.api.problem import Problem
from libs.kube.client import Client
from libs.kube.lease import Lease
from libs.model import revisions
from libs.model.mesh import Mesh
from libs.runtime.clock import Clock
from libs.runtime.tasks import Group
from libs.translate.state import State
from services.discovery import metrics
from services.discovery.replicas import Connect, Replicas, addresses
from services.discovery.status.ingresses import IngressStatuses
from services.discovery.status.receipts import Receipts
from services.discovery.status.subjects import Subjects
from services.discovery.status.writer import StatusWriter

LEASE = "seine-discovery"


class Statuses:
    """The statuses of one cluster."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        *,
        system_namespace: str,
        connect: Connect,
        revision: str = revisions.DEFAULT,
    ) -> None:
        self._system_namespace = system_namespace
        self._revision = revision
        self._lease = Lease(
            client,
            system_namespace,
            revisions.named(LEASE, revision),
            holder=f"{socket.gethostname()}_{uuid.uuid4()}",
            clock=clock,
        )
        self.duties: list[Callable[[], Coroutine[Any, Any, None]]] = []
        """What else the leader does."""
        self._writer = StatusWriter(client, clock, self._lease.check, revision=revision)
        self._ingresses = IngressStatuses(client, clock, self._lease.check, revision=revision)
        self.subjects.others.append(self._ingresses.take)
        receipts = Receipts(self._writer.progress, clock, interest=self._writer)
        counted = metrics.STATUS_REPLICAS.set
        self._replicas = Replicas(connect, receipts, clock, counted=counted)

    def check(self) -> None:
        """Raise LeaseLostError unless this process leads."""
        self._lease.check()

    @property
    def subjects(self) -> Subjects:
        """Who is told of every object that changes."""
        return self._writer.subjects

    def publish(self, mesh: Mesh, problems: tuple[Problem, ...]) -> None:
        """Take the latest mesh and all problems that there are now."""
        self._replicas.want(addresses(mesh, self._system_namespace, self._revision))
        self._writer.publish(problems)

    def serve(self, state: State) -> None:
        """Take what the mesh was made of: where Ingresses are entered stands there."""
        self._ingresses.publish(state)

    async def run(self) -> None:
        """Write while this process leads, until cancelled."""
        await self._lease.lead(self._lead)

    async def _lead(self) -> None:
        async with Group() as group:
            group.create_task(self._replicas.run())
            group.create_task(self._writer.run())
            group.create_task(self._ingresses.run())
            for duty in self.duties:
                group.create_task(duty())
