"""Each service, as its own account, against a real API server: what is granted is what is used.

The table is deploy/rbac.toml. A verb that nothing here uses fails the test, and so does a request
that is refused: whoever adds one adds a row, and whoever stops needing one takes a row away.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import ClientSession
from envoy.config.core.v3 import base_pb2

from libs.api.registry import KINDS
from libs.kube.client import Client
from libs.kube.errors import ForbiddenError, NotFoundError
from libs.protos.credentials.v1 import credentials_pb2_grpc
from libs.protos.credentials.v1.credentials_pb2 import SecretName, Wanted
from libs.rpc import channel, tls
from libs.xds.types import CLUSTER
from services.ca.root_maps import KEY, NAME
from services.ca.secrets import OWN, ROTATE
from tests.support import audit, kube_apiserver
from tests.support import kube_accounts as kube
from tests.support.good_specs import GOOD
from tests.support.kube_apiserver import ApiServer
from tests.support.kube_apps import KubeApps, kube_apps, place
from tests.support.kube_ca import SECRETS, SYSTEM, ClusterCa, cluster_ca, root_map
from tests.support.kube_definitions import PATH as DEFINITIONS
from tests.support.kube_definitions import definitions
from tests.support.kube_discovery import apply
from tests.support.kube_webhook import running_webhook
from tests.support.kubeconfig import write_kubeconfig
from tests.support.pki_ca import bearer
from tests.support.pods import pod
from tests.support.push_plane import ConnectedProxy
from tests.support.xds_client import DeltaClient
from tests.tools import rbac
from tests.tools.crds import GROUPS

ROOT = Path(__file__).parents[2]
MERGE = "application/merge-patch+json"
REVIEWS = "whose token it is"
"""The row of the CA's reviews of tokens."""
FOLDERS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "Role": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SYSTEM}/roles",
    "RoleBinding": f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SYSTEM}/rolebindings",
}

ENTERED = f"""
apiVersion: v1
kind: Service
metadata: {{name: istio-ingressgateway, namespace: {SYSTEM}}}
spec: {{externalIPs: [192.0.2.1], ports: [{{port: 80}}]}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{name: web, namespace: shop, annotations: {{kubernetes.io/ingress.class: istio}}}}
spec: {{defaultBackend: {{service: {{name: web, port: {{number: 80}}}}}}}}
"""


class Watched:
    """An API server that logs what the control plane's accounts do."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self.folder = folder

    def uses(self, service: str) -> set[audit.Use]:
        log = self.folder / kube_apiserver.AUDIT_LOG
        return {use for use in audit.uses(log) if use.service == service}

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Client]:
        async with kube.client_of(self.server, self.folder) as client:
            yield client

    async def kubeconfig(self, admin: Client, service: str, *, without: str = "") -> str:
        """Return a kubeconfig of the account of a service, which has its roles and no others.

        `without`: the reason of a row that is left out.
        """
        await kube.account(admin, SYSTEM, service)
        table = [row for row in rbac.grants() if row.why != without]
        for document in rbac.documents(table):
            await kube.ensure(admin, FOLDERS[document["kind"]], dict(document))
        token = await kube.token(admin, SYSTEM, service, audiences=())
        path = self.folder / f"kubeconfig-of-{service}"
        return str(write_kubeconfig(self.server, path, token=token))


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    folder = tmp_path / "audited"
    folder.mkdir()
    services = sorted({grant.service for grant in rbac.grants()})
    with kube_apiserver.running(folder, audit.policy(services)) as server:
        yield Watched(server, folder)


async def _used(watched: Watched, service: str) -> None:
    """Wait until everything was used, or for long enough to say that it was not."""

    async def all_used() -> bool:
        return not audit.unused(granted(service), watched.uses(service))

    with contextlib.suppress(TimeoutError):
        await _until(all_used)


def granted(service: str) -> list[rbac.Grant]:
    return [grant for grant in rbac.grants() if grant.service == service]


ASKED = {"endpointslices", "workloadgroups"}
"""Lists of the CA that are questions: whom to ask while a root waits, and for a machine's token."""


def compare(watched: Watched, service: str) -> None:
    found = watched.uses(service)
    polled = audit.polled(watched.folder / kube_apiserver.AUDIT_LOG, service)
    assert [one for one in polled if service != "seine-ca" or one.split("/")[-1] not in ASKED] == []
    assert audit.refused(found) == []
    assert audit.unused(granted(service), found) == []
    # Certificates are the mesh's own: no signer of Kubernetes is asked for one.
    assert not [use for use in found if use.group == "certificates.k8s.io"]


async def test_the_ca_uses_what_it_may(watched: Watched, tmp_path: Path) -> None:
    async with watched.admin() as admin:
        config = await watched.kubeconfig(admin, "seine-ca")
        async with cluster_ca(tmp_path, admin, config, confirm_seconds=3) as ca:
            await _work_of_a_ca(ca, admin)
            await _used(watched, "seine-ca")
    compare(watched, "seine-ca")


async def _work_of_a_ca(ca: ClusterCa, admin: Client) -> None:
    await ca.enrol("shop", "bob", "bob-1")
    await ca.ask(bearer(await kube.token(admin, "shop", "bob")))  # as a machine
    await _until(lambda: _has_roots(admin, "shop"))
    path = f"/api/v1/namespaces/shop/configmaps/{NAME}"
    for spoiled in ({"data": {KEY: "mine"}}, {"data": {KEY: "mine"}, "immutable": True}):
        await admin.request("PATCH", path, body=spoiled, content_type=MERGE)
        await _until(lambda: _has_roots(admin, "shop"))
    before = (await admin.get(f"{SECRETS}/{OWN}"))["metadata"]["resourceVersion"]
    asked = {"metadata": {"annotations": {ROTATE: "once"}}}
    written = await admin.request("PATCH", f"{SECRETS}/{OWN}", body=asked, content_type=MERGE)
    await _until(lambda: _moved_on(admin, {before, written["metadata"]["resourceVersion"]}))


async def _has_roots(admin: Client, namespace: str) -> bool:
    try:
        return await root_map(admin, namespace) == await root_map(admin, SYSTEM) != "mine"
    except NotFoundError:
        return False


async def _moved_on(admin: Client, versions: set[str]) -> bool:
    found: Any = await admin.get(f"{SECRETS}/{OWN}")
    return found["metadata"]["resourceVersion"] not in versions


async def test_a_ca_without_one_right_cannot_do_just_that(watched: Watched, tmp_path: Path) -> None:
    """Without reviews nobody gets a certificate; roots are kept and handed out all the same."""
    async with watched.admin() as admin:
        config = await watched.kubeconfig(admin, "seine-ca", without=REVIEWS)
        async with cluster_ca(tmp_path, admin, config) as ca:
            token = bearer(await kube.pod_token(admin, "shop", "bob-1", by="bob"))
            await _until(lambda: _has_roots(admin, "shop"))
            assert (await ca.ask(token)).code == "UNAVAILABLE"
            await _until(lambda: _is_refused(watched, "tokenreviews"))
    assert {use.resource for use in audit.refused(watched.uses("seine-ca"))} == {"tokenreviews"}


async def _is_refused(watched: Watched, resource: str) -> bool:
    return resource in {use.resource for use in audit.refused(watched.uses("seine-ca"))}


async def test_discovery_uses_what_it_may(watched: Watched, tmp_path: Path) -> None:
    async with watched.admin() as admin:
        config = await watched.kubeconfig(admin, "seine-discovery")
        await _define(admin)
        own, quickly = {"seine-discovery": config}, {"machines_grace_seconds": 0.0}
        async with kube_apps(tmp_path, watched.server, admin, own, of_discovery=quickly) as apps:
            await _ask_for_a_key(apps.ca, apps.discovery.feed)
            await _one_of_each(admin)
            await apply(admin, ENTERED)
            await _a_machine_comes_and_goes(apps, admin)
            await _read_a_debug_page(apps.discovery.monitoring, admin)
            await _used(watched, "seine-discovery")
    compare(watched, "seine-discovery")


async def _ask_for_a_key(ca: ClusterCa, port: int) -> None:
    """Ask as config-push does, for a proxy whose account may not read Secrets."""
    material = await ca.enrol(SYSTEM, "seine-config-push", "p-1")
    name = SecretName(namespace="shop", name="web", service_account="gateway")
    async with channel.connect(
        f"127.0.0.1:{port}",
        credentials=tls.Keychain(material).channel_credentials(),
        server_name=f"seine-discovery.{SYSTEM}.svc",
    ) as opened:
        call = credentials_pb2_grpc.CredentialsStub(opened).Follow()
        await call.write(Wanted(names=[name]))
        assert not (await call.read()).private_key
        call.cancel()


async def _read_a_debug_page(port: int, admin: Client) -> None:
    token = await kube.pod_token(admin, SYSTEM, "reader-1", by="reader")
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        ClientSession(headers=headers) as session,
        session.get(f"http://127.0.0.1:{port}/debug/problems") as answer,
    ):
        assert answer.status == 200


async def _one_of_each(admin: Client) -> None:
    """Create something of every kind that has a status."""
    await kube.namespace(admin, "shop")
    for kind in KINDS:
        if kind.group in GROUPS and kind.struct:
            body = {
                "apiVersion": kind.api_versions[0],
                "kind": kind.name,
                "metadata": {"name": "one"},
                "spec": json.loads(json.dumps(yaml.safe_load(GOOD[kind.name]))),
            }
            path = f"/apis/{kind.api_versions[0]}/namespaces/shop/{kind.plural}"
            await admin.request("POST", path, body=body)


async def _a_machine_comes_and_goes(apps: KubeApps, admin: Client) -> None:
    """Connect as a machine of the WorkloadGroup that there is, and leave."""
    await kube.account(admin, "shop", "a")
    token = await kube.token(admin, "shop", "a")
    node = base_pb2.Node(id="sidecar~10.9.0.1~vm.shop~shop.svc.cluster.local")
    node.metadata.fields["AUTO_REGISTER_GROUP"].string_value = "one"
    entry = "/apis/networking.istio.io/v1/namespaces/shop/workloadentries/one-10.9.0.1"

    async def is_there() -> bool:
        with contextlib.suppress(NotFoundError):
            await admin.get(entry)
            return True
        return False

    async def has_gone() -> bool:
        return not await is_there()

    async with apps.agent() as over:
        client = DeltaClient(node)
        proxy = ConnectedProxy(client, over, metadata=[("authorization", f"Bearer {token}")])
        await proxy.send(client.subscribe(CLUSTER))
        await _until(is_there)
        proxy.call.cancel()
    await _until(has_gone)


async def _define(admin: Client) -> None:
    """Have the server know all kinds."""
    for definition in definitions():
        await kube.ensure(admin, DEFINITIONS, definition)


async def _is_ready(port: int) -> bool:
    async with (
        ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/ready") as answer,
    ):
        return answer.status == 200


async def test_config_push_uses_what_it_may(watched: Watched, tmp_path: Path) -> None:
    async with watched.admin() as admin:
        config = await watched.kubeconfig(admin, "seine-config-push")
        await _define(admin)
        token = await place(admin, "shop", "web-1", by="default", address="10.1.0.1")
        own = {"seine-config-push": config}
        async with kube_apps(tmp_path, watched.server, admin, own) as apps, apps.agent() as over:
            node = base_pb2.Node(id="sidecar~10.1.0.1~web-1.shop~shop.svc.cluster.local")
            client = DeltaClient(node)
            proxy = ConnectedProxy(client, over, metadata=[("authorization", f"Bearer {token}")])
            await proxy.send(client.subscribe(CLUSTER))
            assert await proxy.read()
            proxy.call.cancel()
            await _used(watched, "seine-config-push")
    compare(watched, "seine-config-push")


async def test_the_webhook_uses_what_it_may(watched: Watched, tmp_path: Path) -> None:
    async with watched.admin() as admin:
        config = await watched.kubeconfig(admin, "seine-webhook")
        await _define(admin)
        async with running_webhook(watched.server, tmp_path, admin, kubeconfig=config) as webhook:
            await webhook.create("warm", pod(hostNetwork=True))
            of_job = pod(hostNetwork=True)
            of_job["metadata"]["ownerReferences"][0] |= {"apiVersion": "batch/v1", "kind": "Job"}
            await webhook.create("warm", of_job)
            await _used(watched, "seine-webhook")
    compare(watched, "seine-webhook")


async def test_too_much_and_too_little_are_noticed(watched: Watched, tmp_path: Path) -> None:
    async with watched.admin() as admin:
        config = await watched.kubeconfig(admin, "seine-ca")
        async with cluster_ca(tmp_path, admin, config):
            pass
        token = await kube.token(admin, SYSTEM, "seine-ca", audiences=())
        async with kube.client_of(watched.server, tmp_path, token=token) as client:
            for _ in range(audit.LISTS + 1):
                with pytest.raises(ForbiddenError):
                    await client.get("/api/v1/secrets")
    found = watched.uses("seine-ca")
    assert [use.resource for use in audit.refused(found)] == ["secrets"]
    log = watched.folder / kube_apiserver.AUDIT_LOG
    assert audit.polled(log, "seine-ca")["/api/v1/secrets"] == audit.LISTS + 1
    greedy = rbac.Grant("seine-ca", rbac.CLUSTER, "none", ("pods",), ("list",))
    assert audit.unused([greedy], found) == ["seine-ca may list pods in cluster"]


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(90):
        while not await holds():  # noqa: ASYNC110  # an API server is asked, nobody could tell
            await asyncio.sleep(0.1)
