"""A swarm of proxies against config-push: seconds to admit, milliseconds and CPU for each change.

The server is a process of its own (plane and ADS over a Unix socket, without TLS); the swarm speaks
delta ADS as Envoy does and acknowledges everything. Figures depend on the machine: the swarm needs
a core for itself. Nothing is asserted.
"""

import argparse
import asyncio
import multiprocessing
import os
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import median

import grpc
import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2
from msgspec import Struct

from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.model.traffic import Destination, HttpRoute, WeightedDestination
from libs.rpc.limits import Limits as ServerLimits
from libs.runtime import collector
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from services.config_push.ads import SERVICE
from tests.support.mesh import endpoints, mesh, port, routing, service, workload
from tests.support.push_plane import NO_LIMITS, RunningPlane, identity, node, running_plane

ADS = f"/{SERVICE}/DeltaAggregatedResources"
STREAMS_PER_CHANNEL = 100


class Options(Struct, frozen=True):
    """What is measured."""

    streams: int
    services: int
    endpoints: int
    classes: int
    rounds: int


class Figures(Struct, frozen=True):
    """What the server says of one change."""

    change: int
    at: float  # monotonic seconds
    milliseconds: float
    sent: int
    cpu: float
    stalls: list[float]  # seconds that each turn of the event loop came late
    resident: float


class Stalls:
    """How late the event loop is, asked every few milliseconds."""

    INTERVAL = 0.005

    def __init__(self) -> None:
        self._late: list[float] = []

    def reset(self) -> list[float]:
        """Return what was measured since the last call."""
        late, self._late = self._late, []
        return late

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(self.INTERVAL)
            self._late.append(time.monotonic() - before - self.INTERVAL)


# The server.


def serve(options: Options, socket: str, pipe: Pipe) -> None:
    """Run the server until the pipe closes."""
    asyncio.run(_serve(options, Path(socket), pipe))


async def _serve(options: Options, folder: Path, pipe: Pipe) -> None:
    stalls = Stalls()
    limits = ServerLimits(streams=STREAMS_PER_CHANNEL * 2)
    async with (
        running_plane(folder, server_limits=limits, threaded=True) as running,
        asyncio.TaskGroup() as group,
    ):
        measuring = group.create_task(stalls.run())
        running.change(_world(options))
        collector.settle()
        pipe.send("ready")
        while (command := await asyncio.to_thread(_received, pipe)) is not None:
            pipe.send(await _answer(command, options, running, stalls))
        measuring.cancel()


def _received(pipe: Pipe) -> object:
    try:
        return pipe.recv()
    except EOFError:
        return None


async def _answer(
    command: object, options: Options, running: RunningPlane, stalls: Stalls
) -> object:
    if command == "usage":
        return time.process_time(), stalls.reset(), _resident()
    stalls.reset()
    before = time.process_time()
    kind, number = command  # type: ignore[misc]
    at = time.monotonic()
    delta = running.change(_changed(kind, number, options, running.mesh), "Bench/a/b")
    receipt = await running.receipt(delta.change, seconds=120)
    return Figures(
        delta.change,
        at,
        receipt.milliseconds,
        receipt.sent,
        time.process_time() - before,
        stalls.reset(),
        _resident(),
    )


def _world(options: Options) -> Mesh:
    rows: list[Struct] = [MeshSettings()]
    for number in range(options.services):
        one = service(f"s{number:04}", port(80), port(9000))
        rows += [one, endpoints(one, *_addresses(number, options.endpoints))]
    for number in range(options.streams):
        of = f"a{number % options.classes}"
        rows.append(workload(f"p{number}", labels={"app": of}, workload_name=of))
    return mesh(*rows)


def _changed(kind: str, number: int, options: Options, before: Mesh) -> Mesh:
    one = before.services[f"shop/s{number:04}.shop.svc.cluster.local"]
    if kind == "endpoint":
        return mesh(endpoints(one, *_addresses(number + 9, options.endpoints)), before=before)
    if kind == "route":
        return mesh(routing(f"r{number}", one.host, http=(_route(one.host),)), before=before)
    return mesh(service(f"new{number}", port(80)), before=before)


def _route(host: str) -> HttpRoute:
    return HttpRoute(destinations=(WeightedDestination(Destination(host), 100),), timeout=1000)


def _addresses(number: int, count: int) -> Iterator[str]:
    return (f"10.{number // 250}.{number % 250}.{last + 1}" for last in range(count))


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


# The swarm.


class Summary(Struct, frozen=True):
    """What of a response a proxy of the swarm looks at; equal bytes are read once."""

    type_url: str
    nonce: str
    names: tuple[str, ...]


class Swarm:
    """Proxies that acknowledge everything."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._summaries: dict[bytes, Summary] = {}
        self._requests: dict[tuple[str, tuple[str, ...]], bytes] = {}
        self.received: list[float] = []
        self.ready = asyncio.Semaphore(0)

    async def proxy(self, channel: grpc.aio.Channel, number: int) -> None:
        """Run one proxy until cancelled."""
        call = channel.stream_stream(ADS)(metadata=[("test-identity", str(identity()))])
        await call.write(_first(CLUSTER, node=node(f"p{number}")))
        await call.write(_first(LISTENER))
        missing = {CLUSTER, ENDPOINT, LISTENER, ROUTE}
        while True:
            body = await call.read()
            summary = self._summary(body)
            self.received.append(time.monotonic())
            await call.write(_ack(summary))
            if summary.type_url == CLUSTER and ENDPOINT in missing:
                await call.write(self._subscribe(ENDPOINT, summary.names))
            if summary.type_url == LISTENER and ROUTE in missing:
                await call.write(self._subscribe(ROUTE, ("80", "9000")))
            if missing:
                missing.discard(summary.type_url)
                if not missing:
                    self.ready.release()

    def _summary(self, body: bytes) -> Summary:
        found = self._summaries.get(body)
        if found is None:
            if len(self._summaries) > 64:
                self._summaries.clear()
            response = discovery_pb2.DeltaDiscoveryResponse.FromString(body)
            names = tuple(item.name for item in response.resources)
            found = Summary(response.type_url, response.nonce, names)
            self._summaries[body] = found
        return found

    def _subscribe(self, type_url: str, names: tuple[str, ...]) -> bytes:
        key = (type_url, names)
        if key not in self._requests:
            outbound = [name for name in names if name.startswith("outbound|")]
            self._requests[key] = _first(type_url, names=outbound or list(names))
        return self._requests[key]


def _first(type_url: str, *, node: object = None, names: list[str] | None = None) -> bytes:
    request = discovery_pb2.DeltaDiscoveryRequest(
        type_url=type_url,
        node=node,  # type: ignore[arg-type]
        resource_names_subscribe=names or (),
    )
    return request.SerializeToString()


def _ack(summary: Summary) -> bytes:
    return discovery_pb2.DeltaDiscoveryRequest(
        type_url=summary.type_url, response_nonce=summary.nonce
    ).SerializeToString()


@asynccontextmanager
async def _connected(options: Options, address: str) -> AsyncIterator[Swarm]:
    swarm = Swarm(options)
    channels = [
        grpc.aio.insecure_channel(
            address, options=[*NO_LIMITS, ("grpc.use_local_subchannel_pool", 1)]
        )
        for _ in range(-(-options.streams // STREAMS_PER_CHANNEL))
    ]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(swarm.proxy(channels[number // STREAMS_PER_CHANNEL], number))
            for number in range(options.streams)
        ]
        for _ in tasks:
            await swarm.ready.acquire()
        yield swarm
        for task in tasks:
            task.cancel()
    for channel in channels:
        await channel.close()


async def _measure(options: Options, folder: Path, pipe: Pipe) -> None:
    pipe.send("usage")
    _, _, empty = await asyncio.to_thread(pipe.recv)
    started = time.monotonic()
    async with _connected(options, f"unix:{folder / 'xds.sock'}") as swarm:
        seconds = time.monotonic() - started
        pipe.send("usage")
        cpu, late, resident = await asyncio.to_thread(pipe.recv)
        each = (resident - empty) * 1000 / options.streams
        print(
            f"admitted {options.streams} proxies of {options.classes} classes with"
            f" {options.services} services x {options.endpoints} endpoints in {seconds:.1f} s:"
            f" {cpu:.1f} s CPU, {resident:.0f} MB, {each:.0f} kB a stream, {_stalls(late)}"
        )
        for kind in ("endpoint", "route", "service"):
            await _measure_kind(kind, options, pipe, swarm)


async def _measure_kind(kind: str, options: Options, pipe: Pipe, swarm: Swarm) -> None:
    last: list[float] = []
    single: list[float] = []
    cpu: list[float] = []
    late: list[float] = []
    resident = 0.0
    for number in range(options.rounds):
        swarm.received.clear()
        pipe.send((kind, number))
        figures: Figures = await asyncio.to_thread(pipe.recv)
        single += [(at - figures.at) * 1000 for at in swarm.received]
        last.append(figures.milliseconds)
        cpu.append(figures.cpu * 1000)
        late += figures.stalls
        resident = figures.resident
    print(
        f"{kind:9} {len(single) // options.rounds:6} responses"
        f"  to a proxy p50 {_quantile(single, 0.5):6.0f} p99 {_quantile(single, 0.99):6.0f} ms"
        f"  to the last ACK p50 {_quantile(last, 0.5):6.0f} p99 {_quantile(last, 0.99):6.0f} ms"
        f"  CPU {median(cpu):6.0f} ms  {_stalls(late)}  {resident:.0f} MB"
    )


def _stalls(late: list[float]) -> str:
    return f"event loop late p99 {_quantile(late, 0.99) * 1000:.0f} max {max(late) * 1000:.0f} ms"


def _quantile(values: list[float], share: float) -> float:
    ordered = sorted(values) or [0.0]
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=5)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10)
    options = Options(**vars(parser.parse_args()))
    print("load average", *(f"{it:.1f}" for it in os.getloadavg()))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=serve, args=(options, folder, theirs), daemon=True)
        process.start()
        ours.recv()
        asyncio.run(_measure(options, Path(folder), ours))
        ours.close()
        process.terminate()
        process.join()


if __name__ == "__main__":
    main()
