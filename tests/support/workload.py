"""A workload behind a real Envoy on loopback: application, sidecar and addresses of their own."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import cycle
from pathlib import Path

from msgspec import Struct, structs

from libs.model.ids import SpiffeId
from libs.model.mesh import Mesh
from libs.model.security import AccessPolicy, MtlsMode
from libs.model.service import Protocol, ServicePort
from libs.model.settings import MeshSettings
from libs.model.telemetry import AccessLog, TelemetryPolicy
from libs.model.tokens import TokenPolicy
from libs.proxy.node import Interception
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.generate import clusters, inbound_clusters, inbound_listeners
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, Snapshot, resource_set
from tests.support import mesh as rows
from tests.support import traffic
from tests.support.certificates import TestAuthority
from tests.support.envoy import Envoy, access_log, running
from tests.support.ports import free_ports

LABELS = {"app": "server"}
_numbers = cycle(range(1, 200))


class Workload(Struct, frozen=True, kw_only=True):
    """What is served and what is wanted. Ports are named; their numbers are free ones."""

    ports: Mapping[str, Protocol]
    mode: MtlsMode = MtlsMode.PERMISSIVE
    port_modes: Mapping[str, MtlsMode] = {}
    policies: Sequence[AccessPolicy] = ()
    tokens: Sequence[TokenPolicy] = ()
    others: Sequence[Struct] = ()  # services that the workload may call, with their endpoints
    settings: MeshSettings = MeshSettings()
    telemetry: Sequence[TelemetryPolicy] = ()
    counts_bytes: bool = False  # an agent counts those of connections that last
    account: str = "server"
    namespace: str = "shop"


class Server:
    """A running workload; what is wanted of it can change."""

    def __init__(self, place: "_Place", envoy: Envoy) -> None:
        self._place = place
        self.envoy = envoy

    def port(self, name: str) -> tuple[str, int]:
        """Return where the sidecar listens for the port of that name."""
        return self._place.address, self._place.numbers[name]

    async def apply(self, wanted: Workload) -> None:
        """Have Envoy follow `wanted`."""
        await self.envoy.serve(_snapshot(wanted, self._place))


class _Place(Struct, frozen=True):
    """Where a workload stands."""

    address: str
    application: str
    numbers: Mapping[str, int]
    log: Path


Application = Callable[..., AbstractAsyncContextManager[None]]
"""Takes an address and the ports there that it serves."""


@asynccontextmanager
async def serving(
    authority: TestAuthority,
    wanted: Workload,
    folder: Path,
    *,
    application: Application = traffic.application,
) -> AsyncIterator[Server]:
    """Run the workload with its application and its Envoy, whose files stand in `folder`."""
    number = next(_numbers)
    numbers = dict(zip(wanted.ports, free_ports(len(wanted.ports)), strict=True))
    place = _Place(f"127.66.{number}.1", f"127.66.{number}.2", numbers, access_log(folder))
    certificate = authority.issue(wanted.account, wanted.namespace)
    async with (
        application(place.application, *numbers.values()),
        running(_snapshot(wanted, place), certificate, folder) as envoy,
    ):
        yield Server(place, envoy)


def _snapshot(wanted: Workload, place: _Place) -> Snapshot:
    """Return the inbound resources of the workload's sidecar."""
    proxy = structs.replace(
        rows.proxy("server", wanted.namespace),
        identity=SpiffeId("cluster.local", wanted.namespace, wanted.account),
        addresses=(place.address,),
        interception=Interception.NONE,
        application_address=place.application,
        labels=LABELS,
        counts_bytes=wanted.counts_bytes,
    )
    scope = Scoper().scope(_mesh(wanted, place), proxy)
    called = clusters.generate(scope.outbound)
    return Snapshot(
        {
            CLUSTER: resource_set(CLUSTER, [*called, *inbound_clusters.generate(scope.inbound)]),
            ENDPOINT: generate.endpoint_set(scope),
            LISTENER: resource_set(LISTENER, inbound_listeners.generate(scope)),
        }
    )


def _mesh(wanted: Workload, place: _Place) -> Mesh:
    ports = [
        ServicePort(place.numbers[name], name, protocol) for name, protocol in wanted.ports.items()
    ]
    named = {place.numbers[name]: mode for name, mode in wanted.port_modes.items()}
    exception = rows.peer_policy(
        "ports", wanted.namespace, selector=LABELS, mode=wanted.mode, ports=named
    )
    return rows.mesh(
        structs.replace(wanted.settings, access_log=AccessLog(path=str(place.log))),
        rows.service("server", *ports, namespace=wanted.namespace, selector=LABELS),
        rows.peer_policy("default", wanted.namespace, mode=wanted.mode),
        *([exception] if named else []),
        *wanted.policies,
        *wanted.tokens,
        *wanted.telemetry,
        *wanted.others,
    )
