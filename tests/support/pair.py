"""Two real Envoys, a client's and a server's, that call each other over mesh TLS on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from msgspec import Struct

from libs.proxy.node import Interception
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import Snapshot
from tests.support import mesh as rows
from tests.support import traffic
from tests.support.certificates import TestAuthority
from tests.support.envoy import Envoy, Series, running
from tests.support.ports import free_ports
from tests.support.workload import Application, Server, Workload, serving

CLIENT_LABELS = {"app": "web", "version": "v7", "service.istio.io/canonical-name": "web-canon"}
SERVER_LABELS = {"app": "server", "version": "v3"}

_numbers = count(1)


class Pair(Struct, frozen=True):
    """A client's Envoy and a server's."""

    client: Envoy
    server: Server
    outbound: str  # where the client's Envoy listens

    def address(self, name: str) -> tuple[str, int]:
        """Return where the client asks for the server's port of that name."""
        return self.outbound, self.server.port(name)[1]

    async def ask(self, name: str = "http", **headers: str) -> traffic.Answer:
        """Ask the server as the client does."""
        return await traffic.http(self.address(name), headers={"host": "server", **headers})


@asynccontextmanager
async def pair_of(
    authority: TestAuthority,
    wanted: Workload,
    folder: Path,
    *,
    application: Application = traffic.application,
) -> AsyncIterator[Pair]:
    """Run the workload and a client of it; both follow the settings of `wanted`."""
    outbound = f"127.67.{next(_numbers)}.1"
    for name in ("server", "client"):
        (folder / name).mkdir()
    async with (
        serving(authority, wanted, folder / "server", application=application) as server,
        running(
            _snapshot(server, wanted, outbound), authority.issue("client"), folder / "client"
        ) as client,
    ):
        yield Pair(client, server, outbound)


async def series(envoy: Envoy, name: str = "istio_requests_total", **wanted: str) -> list[Series]:
    """Return labels and value of each series of a metric that carries all of `wanted`."""
    return await envoy.series(name, **wanted)


async def counted(envoy: Envoy, name: str = "istio_requests_total", **wanted: str) -> list[Series]:
    """Return such series once there is one."""
    return await envoy.counted(name, **wanted)


def _snapshot(server: Server, wanted: Workload, outbound: str) -> Snapshot:
    ports = {name: server.port(name)[1] for name in wanted.ports}
    service = rows.service(
        "server",
        *(rows.port(ports[name], protocol, name) for name, protocol in wanted.ports.items()),
    )
    behind = rows.endpoints(
        service,
        server.port(next(iter(wanted.ports)))[0],
        service_account="server",
        labels=SERVER_LABELS,
        workload_name="server",
    )
    outside = rows.service(
        "outside", rows.port(free_ports(1)[0], name="out"), external=True, registry="External"
    )
    mesh = rows.mesh(
        wanted.settings,
        service,
        behind,
        outside,
        *wanted.telemetry,
        rows.workload(
            "client", labels=CLIENT_LABELS, workload_name="client-d", service_account="client"
        ),
    )
    proxy = rows.proxy(
        interception=Interception.NONE,
        outbound_address=outbound,
        http_proxy_port=free_ports(1)[0],
        counts_bytes=wanted.counts_bytes,
    )
    return generate.snapshot(Scoper().scope(mesh, proxy))
