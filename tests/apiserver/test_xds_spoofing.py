"""T15: what a proxy of one namespace gets by lying about itself, with tokens of a real API server.

The attacker has an honest token of the namespace `mine`. The namespace `theirs` keeps everything to
itself. Whatever the attacker claims, it gets what its own identity gets, or its stream ends.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from envoy.config.core.v3 import base_pb2
from grpc import StatusCode

from libs.kube import tokens
from libs.kube.client import Client
from libs.pki import bundle, csr, verify
from libs.proxy import node as proxy_node
from libs.rpc.limits import Limits as ServerLimits
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from services.config_push import app as push_app
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import KubeApps, kube_apps, place
from tests.support.kube_discovery import define
from tests.support.pki_ca import ask, bearer
from tests.support.push_plane import ConnectedProxy, EndedError
from tests.support.xds_client import DeltaClient

GATEWAYS = "/apis/networking.istio.io/v1/namespaces/istio-system/gateways"
TYPES = (CLUSTER, LISTENER, ROUTE, SECRET)
KEY = b"KEY OF THE EDGE"
_numbers = count(1)


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await populate(client)
        yield client


@pytest.fixture(name="apps")
async def control_plane(
    server: ApiServer, client: Client, tmp_path: Path
) -> AsyncIterator[KubeApps]:
    async with kube_apps(tmp_path, server, client) as apps:
        yield apps


async def populate(client: Client) -> None:
    """Make services in both namespaces, and a gateway with a certificate at the edge."""
    await define(client, "gateways")
    for namespace, address in (("mine", "10.1.0.1"), ("theirs", "10.2.0.1")):
        await place(client, namespace, f"{namespace}-1", by="default", address=address)
        await kube.ensure(client, f"/api/v1/namespaces/{namespace}/services", service(namespace))
        await kube.ensure(
            client,
            f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices",
            slice_of(namespace, address),
        )
    await kube.account(client, "istio-system", "edge")
    secret = {
        "metadata": {"name": "edge-cert"},
        "stringData": {"tls.crt": "CERTIFICATE", "tls.key": KEY.decode()},
    }
    await kube.ensure(client, "/api/v1/namespaces/istio-system/secrets", secret)
    server = {
        "port": {"number": 8443, "name": "https", "protocol": "HTTPS"},
        "hosts": ["*"],
        "tls": {"mode": "SIMPLE", "credentialName": "edge-cert"},
    }
    gateway = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "edge"},
        "spec": {"selector": {"istio": "edge"}, "servers": [server]},
    }
    await kube.ensure(client, GATEWAYS, gateway)


def service(namespace: str) -> dict[str, Any]:
    annotations = {"networking.istio.io/exportTo": "."}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {
        "metadata": {"name": f"secret-of-{namespace}", "annotations": annotations},
        "spec": {"selector": {"app": namespace}, "ports": ports},
    }


def slice_of(namespace: str, address: str) -> dict[str, Any]:
    name = f"secret-of-{namespace}"
    target = {"kind": "Pod", "name": f"{namespace}-1", "namespace": namespace}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}, "targetRef": target}],
    }


def node(
    instance: str = "mine-1.mine", *, kind: str = "sidecar", ip: str = "10.1.0.1", **said: str
) -> base_pb2.Node:
    made = base_pb2.Node(id=f"{kind}~{ip}~{instance}~mine.svc.cluster.local")
    for key, value in said.items():
        made.metadata.fields[key].string_value = value
    return made


def labelled(made: base_pb2.Node, **labels: str) -> base_pb2.Node:
    made.metadata.fields["LABELS"].struct_value.update(labels)
    return made


SPOOFS: dict[str, base_pb2.Node] = {
    "another's node id": base_pb2.Node(id="sidecar~10.2.0.1~theirs-1.theirs~theirs.svc.x"),
    "another's namespace in metadata": node(NAMESPACE="theirs"),
    "another's namespace in the domain": base_pb2.Node(
        id="sidecar~10.1.0.1~mine-1.mine~theirs.svc.cluster.local"
    ),
    "another's account": node(SERVICE_ACCOUNT="root"),
    "no metadata, unknown pod": node("nobody.mine"),
    "trailing dot": node("mine-1.theirs.", NAMESPACE="mine"),
    "upper case": node("mine-1.THEIRS"),
    "escaped": node("mine-1.%74heirs"),
    "dots": node("theirs-1.theirs.mine"),
    "another cluster": node(CLUSTER_ID="theirs"),
    "labels of the edge": labelled(node("edge-1.mine", kind="router"), istio="edge"),
    "a router": node(kind="router"),
    "a victim's address": node("nobody.mine", ip="10.2.0.1", INSTANCE_IPS="10.2.0.1"),
    "a victim's workload": node(WORKLOAD_NAME="theirs-1", OWNER="kubernetes://apis/v1/theirs"),
    "settings of its own": node(PROXY_CONFIG='{"proxyMetadata": {"NAMESPACE": "theirs"}}'),
    "the API generator": node(GENERATOR="api"),
    "the event generator": node(GENERATOR="event"),
    "no node at all": base_pb2.Node(),
}


async def received(apps: KubeApps, claimed: base_pb2.Node, token: str) -> bytes:
    """Return all that a proxy is sent on one stream until it has every answer, or is sent away.

    Then a service appears that is everybody's: what was asked for before was answered before it.
    """
    found = bytearray()
    client = DeltaClient(claimed, follow_clusters=True)
    async with apps.agent() as over:
        proxy = ConnectedProxy(client, over, metadata=[("authorization", f"Bearer {token}")])
        with suppress(EndedError):
            await proxy.send(client.subscribe(CLUSTER), client.subscribe(LISTENER))
            await proxy.send(
                client.subscribe(SECRET, ["kubernetes://edge-cert", "kubernetes://theirs/x"]),
                client.subscribe(ROUTE, ["80", "https.8443.https.edge.istio-system"]),
                client.subscribe(ENDPOINT, ["outbound|80||secret-of-theirs.theirs.svc"]),
            )
            while not client.nonces.keys() >= {*TYPES, ENDPOINT}:
                found += await proxy.receive()
            last = f"everybodys-{next(_numbers)}"
            body = {"metadata": {"name": last}, "spec": {"ports": [{"name": "http", "port": 80}]}}
            await kube.ensure(apps.client, "/api/v1/namespaces/mine/services", body)
            while last.encode() not in found:
                found += await proxy.receive()
        proxy.call.cancel()
    return bytes(found)


FOREIGN = (b"secret-of-theirs", b"10.2.0.1:", KEY)


async def foreign(apps: KubeApps) -> dict[str, list[bytes]]:
    token = await kube.pod_token(apps.client, "mine", "mine-1", by="default")
    found = {}
    for name, claimed in SPOOFS.items():
        body = await received(apps, claimed, token)
        # Envoy is told names that are not there, too: what it asked for is not foreign.
        body = body.replace(b"outbound|80||secret-of-theirs.theirs.svc", b"")
        if seen := [each for each in FOREIGN if each in body]:
            found[name] = seen
    return found


async def test_lies_give_nothing_that_is_anothers(apps: KubeApps) -> None:
    found = await foreign(apps)
    sys.stdout.write(f"xds spoofing: {len(SPOOFS)} claims, foreign resources = {len(found)}\n")
    assert found == {}


async def test_the_honest_get_their_own(apps: KubeApps) -> None:
    token = await kube.pod_token(apps.client, "theirs", "theirs-1", by="default")
    claimed = base_pb2.Node(id="sidecar~10.2.0.1~theirs-1.theirs~theirs.svc.cluster.local")
    assert b"secret-of-theirs" in await received(apps, claimed, token)


async def test_the_negative_control_a_control_plane_that_believes_nodes(
    apps: KubeApps, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = proxy_node.parse

    def credulous(node_id: str, metadata: Any, proved: Any, mesh: Any) -> Any:  # noqa: ANN401
        namespace = node_id.split("~")[2].rpartition(".")[2] or proved.namespace
        claimed = type(proved)(proved.trust_domain, namespace, "default")
        return honest(node_id, {}, claimed, mesh)

    monkeypatch.setattr(proxy_node, "parse", credulous)
    found = await foreign(apps)
    sys.stdout.write(f"xds spoofing, nodes believed: foreign resources = {len(found)}\n")
    assert "another's node id" in found


async def test_istios_agent_finds_everything_at_one_address(apps: KubeApps) -> None:
    """It asks for its certificate and its configuration in the same place, with its token."""
    token = await kube.pod_token(apps.client, "mine", "mine-1", by="default")
    async with apps.agent() as over:
        headers = [*bearer(token), ("clusterid", "Kubernetes")]
        answer = await ask(over, csr.make_with_key()[1], headers, wishes={"CertSigner": ""})
        assert answer.code == "OK", answer
        leaf = bundle.parse(answer.chain[0].encode())[0]
        assert str(verify.identity_of(leaf)) == "spiffe://cluster.local/ns/mine/sa/default"
    assert b"secret-of-mine" in await received(apps, node(), token)


async def test_a_certificate_opens_the_other_port(apps: KubeApps) -> None:
    material = await apps.ca.enrol("mine", "default", "mine-1")
    async with apps.agent(material) as over:
        assert (await ask(over, csr.make_with_key()[1])).code == "OK"


@pytest.mark.parametrize("gone", ["pods/leaves-1", "serviceaccounts/leaver", ""])
async def test_a_proof_that_is_no_longer_good_ends_with_its_connection(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """What a namespace that is deleted loses as well; with nothing gone proxies come back."""
    quick = ServerLimits(age_seconds=2.0, age_grace_seconds=1.0)
    monkeypatch.setattr(push_app, "_limits", lambda _settings: quick)
    monkeypatch.setattr(tokens, "KEEP_SECONDS", 1.0)
    async with kube.client_of(server, tmp_path) as client:
        await populate(client)
        token = await place(client, "mine", "leaves-1", by="leaver", address="10.1.0.9")
        async with kube_apps(tmp_path, server, client) as apps:
            assert await _ended(apps, token) is StatusCode.UNAVAILABLE  # it is to come back
            if gone:
                at_once = {"gracePeriodSeconds": "0"}
                path = f"/api/v1/namespaces/mine/{gone}"
                await client.request("DELETE", path, params=at_once)
            said = await _ended(apps, token)
            async with asyncio.timeout(60):
                while gone and said is not StatusCode.UNAUTHENTICATED:
                    said = await _ended(apps, token)
    assert said is (StatusCode.UNAUTHENTICATED if gone else StatusCode.UNAVAILABLE)


async def _ended(apps: KubeApps, token: str) -> StatusCode:
    """Follow clusters until the stream ends, and return how."""
    client = DeltaClient(node("leaves-1.mine", ip="10.1.0.9"))
    async with apps.agent() as over:
        proxy = ConnectedProxy(client, over, metadata=[("authorization", f"Bearer {token}")])
        await proxy.send(client.subscribe(CLUSTER))
        return await proxy.ended()
