"""gRPC's own xDS client judges who answers: an account of the service, or nobody.

The impostor has a certificate of the mesh and answers at the address of one of the service's pods.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext

from libs.model.ids import SpiffeId
from libs.proxy.scope import ProxyScope
from libs.xds.generate import GENERATORS, cluster_set
from libs.xds.types import CLUSTER, NamedResource, ResourceSet, resource, resource_set
from services.config_push.classes import Generator
from services.ctl.render import build
from tests.support.certificates import TestAuthority
from tests.support.grpc_xds import Caller, backend, calling
from tests.support.push_plane import identity, running_plane

TARGET = "greeter.shop:80"
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: greeter, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: greeter}, ports: [{name: grpc, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: greeter, namespace: shop, labels: {kubernetes.io/service-name: greeter}}
addressType: IPv4
ports: [{name: grpc, port: %(port)s}]
endpoints:
  - addresses: [127.0.0.1]
    conditions: {ready: true}
    targetRef: {kind: Pod, name: greeter, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: greeter, namespace: shop, labels: {app: greeter}}
spec: {serviceAccountName: greeter, containers: [{name: app}]}
status:
  phase: Running
  podIP: 127.0.0.1
  podIPs: [{ip: 127.0.0.1}]
  conditions: [{type: Ready, status: "True"}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: greeter, namespace: shop}
spec: {host: greeter, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
"""


async def authenticate(_context: object) -> SpiffeId:
    return identity()


def _anybody(scope: ProxyScope) -> ResourceSet:
    """Return the clusters without the names that a server has to prove."""
    return resource_set(CLUSTER, map(_unnamed, cluster_set(scope).resources.values()))


def _unnamed(made: NamedResource) -> NamedResource:
    cluster = Cluster.FromString(made.body)
    socket = cluster.transport_socket.typed_config
    context = UpstreamTlsContext.FromString(socket.value)
    judged = context.common_tls_context.combined_validation_context.default_validation_context
    judged.ClearField("match_subject_alt_names")
    socket.Pack(context)
    return resource(made.name, CLUSTER, body=cluster.SerializeToString(deterministic=True))


@asynccontextmanager
async def caller_of(
    account: str, folder: Path, generators: Mapping[str, Generator] = GENERATORS
) -> AsyncIterator[Caller]:
    """Yield a program that calls a service whose only pod proves to be `account`."""
    authority = TestAuthority()
    async with (
        backend(account.encode(), proving=authority.issue(account)) as port,
        running_plane(folder, generators=generators, authenticate=authenticate) as running,
        calling(folder, running.address, TARGET, authority.issue("client")) as caller,
    ):
        mesh, _ = build({"shop.yaml": MANIFESTS % {"port": port}})
        running.change(mesh, "Service/shop/greeter")
        yield caller


async def test_an_account_of_the_service_is_believed(tmp_path: Path) -> None:
    async with caller_of("greeter", tmp_path) as caller:
        assert await caller.call() == "greeter"


@pytest.mark.parametrize("checked", [True, False])
async def test_an_impostor_of_the_mesh_answers_only_who_does_not_check(
    tmp_path: Path, *, checked: bool
) -> None:
    generators = GENERATORS if checked else {**GENERATORS, CLUSTER: _anybody}
    async with caller_of("thief", tmp_path, generators) as caller:
        answer = await caller.call()
    if checked:
        assert answer.startswith(("UNAVAILABLE", "DEADLINE_EXCEEDED")), answer
    else:
        assert answer == "thief"
