"""What it costs to say what a proxy should have: scopes and generators, cold and after changes.

In one process, without any I/O, in seconds of its CPU, so that whatever else the machine does is
left out. Cold is what the first proxy of a namespace costs; the other rows are what a change costs
classes of proxies that were there before: their scopes, and whatever differs.
"""

import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeVar

from msgspec import Struct

from libs.model.mesh import Mesh, Table
from libs.model.security import MtlsMode
from libs.model.traffic import (
    ConnectionPool,
    Destination,
    HttpRoute,
    Routing,
    TrafficPolicy,
    WeightedDestination,
)
from libs.proxy.node import Proxy
from libs.proxy.scope import ProxyScope
from libs.proxy.scoper import Scoper
from libs.xds import affects, generate
from services.config_push.classes import Classes, Made, Want
from services.config_push.queue import Lane
from tests.support.mesh import (
    access_policy,
    endpoints,
    host_policy,
    mesh,
    peer_policy,
    port,
    proxy,
    routing,
    row_key,
    service,
    vip,
)

T = TypeVar("T")

NAMESPACES = 20
ENDPOINTS = 5
POLICIES = 5
"""Every fifth service has a host policy and a routing."""
PORT = 9080


def world(services: int) -> Mesh:
    """Return a mesh of HTTP services, spread over namespaces."""
    return mesh(*(row for number in range(services) for row in _rows(number)))


def _rows(number: int) -> Iterator[Struct]:
    namespace, name = f"ns-{number % NAMESPACES}", f"svc-{number}"
    of = service(name, port(PORT), namespace=namespace, addresses=(vip(f"{number:08}"),))
    yield of
    addresses = (f"10.{number // 250 % 250}.{number % 250}.{index}" for index in range(ENDPOINTS))
    yield endpoints(of, *addresses, labels={"app": name}, workload_name=name)
    if number % POLICIES == 0:
        yield host_policy(name, of.host, namespace=namespace, policy=_pool(number))
        yield _routed(name, of.host, namespace, number)


def _pool(connections: int) -> TrafficPolicy:
    return TrafficPolicy(connection_pool=ConnectionPool(max_connections=connections + 1))


def _routed(name: str, host: str, namespace: str, timeout: int) -> Routing:
    to = (WeightedDestination(Destination(host), 100),)
    route = HttpRoute(destinations=to, timeout=timeout + 1)
    return routing(name, host, namespace=namespace, http=(route,))


class Clock:
    """Collects durations by what was done."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def time(self, name: str, act: Callable[[], T]) -> T:
        """Run `act` and remember how long it took."""
        before = time.process_time()
        result = act()
        self.seconds.setdefault(name, []).append(time.process_time() - before)
        return result

    def report(self) -> None:
        """Print the median and the 99th percentile of everything, in milliseconds."""
        for name, seconds in self.seconds.items():
            ordered = sorted(seconds)
            median, last = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
            print(f"  {name:44} p50 {median * 1000:8.2f} ms   p99 {last * 1000:8.2f} ms")


def cold(clock: Clock, now: Mesh) -> None:
    """Time a scoper that has seen nothing."""
    scope = clock.time("cold: scope", lambda: Scoper().scope(now, proxy(namespace="ns-1")))
    for type_url, generator in generate.GENERATORS.items():
        name = f"cold: {type_url.rsplit('.', 1)[1]}"
        clock.time(name, lambda make=generator: _after(scope, make))


def _after(scope: ProxyScope, make: Callable[[ProxyScope], object]) -> ProxyScope:
    make(scope)
    return scope


def changes(clock: Clock, now: Mesh, rounds: int) -> None:
    """Time what changes cost classes that were there before."""
    classes = Classes(generate.GENERATORS, affects.types)
    clients = [proxy(f"p-{number}", namespace=f"ns-{number}") for number in range(NAMESPACES)]
    have: dict[str, Made] = {}

    def push(current: Mesh, tables: frozenset[Table]) -> None:
        for client in clients:
            have[client.id] = classes.make(current, _want(client, tables, have.get(client.id)))

    push(now, frozenset())
    ticks = count(1)
    for _ in range(rounds):
        for name, change in _CHANGES.items():
            row = change(next(ticks))
            now = mesh(row, before=now)
            tables = frozenset({row_key(row).table})
            clock.time(
                f"{NAMESPACES} classes: {name}", lambda mesh=now, moved=tables: push(mesh, moved)
            )


def _want(client: Proxy, tables: frozenset[Table], had: Made | None) -> Want:
    return Want(
        connection=0,
        lane=Lane.CONFIGURATION,
        identify=lambda _: client,
        tables=tables,
        digest=had.digest if had else "",
        before=had.sets if had else {},
    )


def _moved(tick: int) -> Struct:
    of = service("svc-0", port(PORT), namespace="ns-0")
    return endpoints(of, f"10.250.{tick // 250 % 250}.{tick % 250}", labels={"app": "svc-0"})


def _policy(tick: int) -> Struct:
    host = service("svc-0", namespace="ns-0").host
    return host_policy("svc-0", host, namespace="ns-0", policy=_pool(tick))


def _mode(tick: int) -> Struct:
    mode = (MtlsMode.STRICT, MtlsMode.PERMISSIVE)[tick % 2]
    return peer_policy("p", namespace="ns-3", mode=mode)


def _forbidding(tick: int) -> Struct:
    mode = (MtlsMode.DISABLE, MtlsMode.PERMISSIVE)[tick % 2]
    return peer_policy("q", namespace="ns-4", mode=mode)


def _routing(tick: int) -> Struct:
    host = service("svc-0", namespace="ns-0").host
    return _routed("svc-0", host, "ns-0", tick)


_CHANGES: dict[str, Callable[[int], Struct]] = {
    "an endpoint moves": _moved,
    "a policy of a service changes": _policy,
    "a routing of a service changes": _routing,
    "an access policy changes": lambda tick: access_policy("a", created=tick),
    "a mode of mutual TLS changes": _mode,
    "a mode forbids mutual TLS, or not": _forbidding,
    "a service comes": lambda tick: service(f"new-{tick}", port(PORT), namespace="ns-5"),
}


def main() -> int:
    """Print the figures for a small and a large mesh."""
    for services, rounds in ((100, 30), (1000, 10)):
        print(f"{services} services x {ENDPOINTS} endpoints, every fifth with policies")
        clock, now = Clock(), world(services)
        for _ in range(rounds):
            cold(clock, now)
        changes(clock, now, rounds)
        clock.report()
    return 0


if __name__ == "__main__":
    sys.exit(main())
