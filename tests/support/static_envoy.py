"""Real Envoy as a judge of generated configuration: `envoy --mode validate`, nothing is run.

Everything is put into one static bootstrap. What a proxy would fetch by name (routes, endpoints) is
put where Envoy looks at static configuration: routes into a listener, endpoints into a cluster.
"""

import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.http.wasm.v3.wasm_pb2 import Wasm
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.filters.network.wasm.v3 import wasm_pb2 as network_wasm

from libs.xds.generate import typed
from libs.xds.generate.filters import cors, fault
from libs.xds.types import CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE, Snapshot
from services.agent.envoy import binary

_BOOTSTRAP_CLUSTERS = ("sds-grpc", "sds-external", "xds-grpc")
_RUNTIME = {"re2.max_program_size.error_level": 32768}
_SECONDS = 60


def refusal(snapshot: Snapshot) -> str:
    """Return why Envoy refuses what was generated for a proxy, or "" if it accepts it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bootstrap.pb"
        file.write_bytes(bootstrap(snapshot).SerializeToString())
        command = [binary(""), "--mode", "validate", "-l", "error", "-c", str(file)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    return "" if done.returncode == 0 else done.stderr.strip()


def bootstrap(snapshot: Snapshot) -> Bootstrap:
    """Return a static bootstrap that holds all of a snapshot."""
    found = Bootstrap()
    found.node.id = found.node.cluster = "judge"
    found.dynamic_resources.ads_config.CopyFrom(_ads())
    runtime = found.layered_runtime.layers.add(name="as in the agent's bootstrap")
    runtime.static_layer.update(_RUNTIME)
    static = found.static_resources
    static.clusters.extend(map(_agent, _BOOTSTRAP_CLUSTERS))
    static.clusters.extend(Cluster.FromString(body) for body in _bodies(snapshot, CLUSTER))
    static.clusters.extend(_with_endpoints(_bodies(snapshot, ENDPOINT)))
    static.listeners.extend(Listener.FromString(body) for body in _bodies(snapshot, LISTENER))
    static.listeners.extend(_with_routes(_bodies(snapshot, ROUTE)))
    static.listeners.extend(_with_extensions(_bodies(snapshot, EXTENSION)))
    return found


def _bodies(snapshot: Snapshot, type_url: str) -> list[bytes]:
    return [resource.body for resource in snapshot.of(type_url).resources.values()]


def _ads() -> ApiConfigSource:
    found = ApiConfigSource(
        api_type=ApiConfigSource.ApiType.GRPC, transport_api_version=ApiVersion.V3
    )
    found.grpc_services.add().envoy_grpc.cluster_name = "xds-grpc"
    return found


def _agent(name: str) -> Cluster:
    found = Cluster(name=name)
    found.load_assignment.cluster_name = name
    endpoint = found.load_assignment.endpoints.add().lb_endpoints.add().endpoint
    endpoint.address.pipe.path = f"/nowhere/{name}"
    return found


def _with_routes(bodies: Iterable[bytes]) -> Iterator[Listener]:
    for index, body in enumerate(bodies):
        manager = hcm.HttpConnectionManager(
            stat_prefix="routes",
            route_config=RouteConfiguration.FromString(body),
            http_filters=[
                fault.FILTER,
                cors.FILTER,
                typed.http_filter("envoy.filters.http.router", Router()),
            ],
        )
        found = Listener(name=f"routes {index}")
        found.address.pipe.path = f"/nowhere/routes-{index}"
        name = "envoy.filters.network.http_connection_manager"
        found.filter_chains.add(filters=[typed.network_filter(name, manager)])
        yield found


def _with_extensions(bodies: Iterable[bytes]) -> Iterator[Listener]:
    """Yield listeners with filters that would be fetched; modules are not there to be judged."""
    for index, body in enumerate(bodies):
        fetched = TypedExtensionConfig.FromString(body)
        if any(fetched.typed_config.Is(kind.DESCRIPTOR) for kind in (Wasm, network_wasm.Wasm)):
            continue
        named = hcm.HttpFilter(name=fetched.name, typed_config=fetched.typed_config)
        manager = hcm.HttpConnectionManager(
            stat_prefix="extensions",
            route_config=RouteConfiguration(),
            http_filters=[named, typed.http_filter("envoy.filters.http.router", Router())],
        )
        found = Listener(name=f"extension {index}")
        found.address.pipe.path = f"/nowhere/extension-{index}"
        name = "envoy.filters.network.http_connection_manager"
        found.filter_chains.add(filters=[typed.network_filter(name, manager)])
        yield found


def _with_endpoints(bodies: Iterable[bytes]) -> Iterator[Cluster]:
    for body in bodies:
        assignment = ClusterLoadAssignment.FromString(body)
        assignment.cluster_name = f"endpoints of {assignment.cluster_name}"
        yield Cluster(name=assignment.cluster_name, load_assignment=assignment)
