"""Machines: which machines outside the cluster are connected here, and how their workloads are.

A machine is connected while any stream of its proxy or of its agent is open. Its agent tells of
its workload in requests of the type `HEALTH`: among Envoy's own, as Istio's agents do, or on a
stream of its own. Discovery follows; what it makes of that is not decided here.

A follower has no queue: it is woken, and gets the last state of what has moved, at most every
PACE_SECONDS; what may have moved is bounded by the streams that may be open.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import grpc.aio
from envoy.config.core.v3 import base_pb2

from libs.protos.machines.v1 import machines_pb2_grpc
from libs.protos.machines.v1.machines_pb2 import FollowRequest, Health, Machine, Name, Roll
from libs.proxy.node import Proxy
from libs.rpc.peer import Context
from libs.runtime.clock import Clock, SystemClock
from services.config_push import metrics
from services.config_push.connection import Request

HEALTH = "type.googleapis.com/istio.v1.HealthInformation"
METHODS = ("/seine.machines.v1.Machines/Follow",)
READERS = ("seine-discovery",)
PACE_SECONDS = 0.2
CHUNK = 500
MAX_MESSAGE = 1024
_MAX_LOCALITY = 256


class _Place(NamedTuple):
    namespace: str
    entry: str


class _Present:
    """A machine that is here."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.streams = 0


class _Follower:
    def __init__(self, places: Iterator[_Place]) -> None:
        self.moved: dict[_Place, None] = dict.fromkeys(places)
        self.wake = asyncio.Event()


class MachineBook:
    """The machines that are connected to this replica."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._present: dict[_Place, _Present] = {}
        self._followers: set[_Follower] = set()

    @contextmanager
    def connected(self, machine: Machine | None) -> Iterator[None]:
        """Count a machine as connected while the block runs; None is no machine."""
        if machine is None:
            yield
            return
        place = _Place(machine.name.namespace, machine.name.entry)
        here = self._arrive(place, machine)
        try:
            yield
        finally:
            here.streams -= 1
            if not here.streams:
                del self._present[place]
                self._moved(place)
            metrics.MACHINES.set(len(self._present))

    def hear(self, machine: Machine | None, request: Request) -> None:
        """Take what an agent says of its workload."""
        if machine is None:
            return
        place = _Place(machine.name.namespace, machine.name.entry)
        here = self._present.get(place)
        if here is None:
            return
        wrong = request.error_detail
        healthy = not request.HasField("error_detail")
        health = Health(
            healthy=healthy,
            message="" if healthy else wrong.message[:MAX_MESSAGE],
            observed=self._clock.now(),
        )
        known = here.machine.health
        same = here.machine.HasField("health") and known.healthy == healthy
        if not same or known.message != health.message:
            here.machine.health.CopyFrom(health)
            self._moved(place)

    async def follow(self) -> AsyncIterator[Roll]:
        """Yield everything, and then what moves."""
        follower = _Follower(iter(self._present))
        self._followers.add(follower)
        try:
            first = True
            while True:
                moved, follower.moved = list(follower.moved), {}
                for start in range(0, max(len(moved), 1), CHUNK):
                    rest = first and start + CHUNK < len(moved)
                    yield self._roll(moved[start : start + CHUNK], more=rest)
                first = False
                await follower.wake.wait()
                await self._clock.sleep(PACE_SECONDS)
                follower.wake.clear()
        finally:
            self._followers.discard(follower)

    def _arrive(self, place: _Place, machine: Machine) -> _Present:
        here = self._present.get(place)
        if here is None:
            here = self._present[place] = _Present(Machine())
        known = here.machine
        here.machine = Machine()
        here.machine.CopyFrom(machine)
        if here.streams:
            # Only Envoy's own stream says where it is.
            here.machine.locality = machine.locality or known.locality
            here.machine.since = known.since
            if known.HasField("health"):
                here.machine.health.CopyFrom(known.health)
        here.streams += 1
        if here.machine != known:
            self._moved(place)
        metrics.MACHINES.set(len(self._present))
        return here

    def _moved(self, place: _Place) -> None:
        for follower in self._followers:
            follower.moved[place] = None
            follower.wake.set()

    def _roll(self, places: Sequence[_Place], *, more: bool) -> Roll:
        roll = Roll(more=more)
        for place in places:
            here = self._present.get(place)
            if here is None:
                roll.gone.append(Name(namespace=place.namespace, entry=place.entry))
            else:
                roll.connected.append(here.machine)
        return roll


class MachinesService(machines_pb2_grpc.MachinesServicer):
    """Machines over gRPC. Who may call it is decided by the interceptors."""

    def __init__(self, book: MachineBook) -> None:
        self._book = book

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        machines_pb2_grpc.add_MachinesServicer_to_server(self, server)

    async def Follow(  # noqa: N802  # the method's name on the wire
        self, request: FollowRequest, context: Context
    ) -> AsyncIterator[Roll]:
        """Stream what is connected."""
        del request, context
        async for roll in self._book.follow():
            yield roll


def described(node: base_pb2.Node, proxy: Proxy | None, now: float) -> Machine | None:
    """Return the machine whose proxy this is; None if it does not register itself."""
    if proxy is None or not proxy.group:
        return None
    place = node.locality
    parts = (place.region, place.zone, place.sub_zone)
    return Machine(
        name=Name(namespace=proxy.namespace, entry=proxy.workload.rpartition("/")[2]),
        service_account=proxy.identity.service_account,
        group=proxy.group,
        address=proxy.addresses[0],
        network=proxy.metadata.get("NETWORK", ""),
        locality="/".join(parts).rstrip("/")[:_MAX_LOCALITY],
        probes=_probes(node),
        since=now,
    )


def _probes(node: base_pb2.Node) -> bool:
    """Tell whether an agent was given a probe, which it then makes."""
    config = node.metadata.fields.get("PROXY_CONFIG")
    return config is not None and "readinessProbe" in config.struct_value.fields
