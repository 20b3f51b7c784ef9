"""Requests to the CA in a cluster: the key is the request's, everything else is the token's.

And node agents, which may ask for the identities of the pods on their own node, and no others.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.kube.client import Client
from libs.model.ids import SpiffeId
from libs.pki import bundle, keys, sign, verify
from libs.pki.errors import CertificateError
from libs.pki.template import Template
from libs.runtime.clock import SystemClock
from services.ca import node_agents
from tests.support import kube_accounts as kube
from tests.support.csr_cases import GOOD, GREEDY, deviations, unusable
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import ClusterCa, cluster_ca, until
from tests.support.kubeconfig import write_kubeconfig
from tests.support.pki_ca import Answer, bearer

ZTUNNEL = "istio-system/ztunnel"
DAY = 86_400
PODS = 20


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        yield client


@pytest.fixture(name="ca")
async def ca_in_it(server: ApiServer, client: Client, tmp_path: Path) -> AsyncIterator[ClusterCa]:
    config = write_kubeconfig(server, tmp_path / "config")
    async with cluster_ca(tmp_path, client, str(config), trusted_node_accounts=(ZTUNNEL,)) as ca:
        yield ca


async def answers(ca: ClusterCa, requests: dict[str, bytes]) -> dict[str, Answer]:
    over = await ca.connect()
    token = bearer(await kube.pod_token(ca.client, "shop", "bob-1", by="bob"))
    return {
        name: await ca.ask(token, request=request, over=over) for name, request in requests.items()
    }


async def test_whatever_a_request_asks_for_the_pod_gets_itself(ca: ClusterCa) -> None:
    found = await answers(ca, GREEDY)
    wrong = {name: deviations(it) for name, it in found.items() if it.chain and deviations(it)}
    signed = sum(bool(it.chain) for it in found.values())
    sys.stdout.write(
        f"requests in a cluster: {len(found)} greedy, {signed} signed, deviations = {len(wrong)}\n"
    )
    assert wrong == {}
    assert signed == len(GREEDY)


async def test_requests_that_are_not_worth_signing_are_refused(ca: ClusterCa) -> None:
    found = await answers(ca, {name: it for name, it in unusable().items() if it})
    wrong = [name for name, it in found.items() if it.chain]
    sys.stdout.write(f"requests in a cluster: {len(found)} unusable, wrong grants = {len(wrong)}\n")
    assert wrong == []
    assert {it.code for it in found.values()} <= {"INVALID_ARGUMENT", "RESOURCE_EXHAUSTED"}


async def test_the_negative_control_a_signer_that_does_not_check(
    ca: ClusterCa, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = sign._sign

    def careless(template: Template, key: Any, by: Any) -> Any:  # noqa: ANN401
        other = SpiffeId("cluster.local", "shop", "eve")
        return honest(Template(other, template.not_before, template.not_after), key, by)

    monkeypatch.setattr(sign, "_sign", careless)
    monkeypatch.setattr(verify, "issued", lambda *_, **__: None)
    found = await answers(ca, {"any": GOOD})
    assert deviations(found["any"]) == ["names"]


async def test_every_pod_has_a_key_and_a_serial_of_its_own_signed_by_the_mesh(
    ca: ClusterCa, server: ApiServer
) -> None:
    """Pods of one account, too. The API server's own certificate proves nothing to the mesh."""
    pods = [("shop", f"many-{number % 3}", f"many-{number}") for number in range(PODS)]
    given = [await ca.enrol(*pod) for pod in pods]
    leaves = [bundle.parse(it.chain)[0] for it in given]
    found = {
        "keys": len({keys.spki(keys.of_certificate(leaf)) for leaf in leaves}),
        "serials": len({leaf.serial_number for leaf in leaves}),
        "identities": len({verify.identity_of(leaf) for leaf in leaves}),
    }
    sys.stdout.write(f"{PODS} pods: {found}\n")
    assert found == {"keys": PODS, "serials": PODS, "identities": 3}
    roots = bundle.parse(ca.roots)
    for it in given:
        verify.chain(bundle.parse(it.chain), roots, now=SystemClock().now())
    of_kubernetes = bundle.parse(server.authority.read_bytes())
    with pytest.raises(CertificateError):
        verify.chain(bundle.parse(given[0].chain), of_kubernetes, now=SystemClock().now())
    assert not set(roots) & set(of_kubernetes)


@pytest.mark.parametrize(
    ("lifetime", "seconds"), [(0, DAY), (-1, DAY), (60, 60), (91 * DAY, None), (2**63 - 1, None)]
)
async def test_lifetimes(lifetime: int, seconds: int | None, ca: ClusterCa) -> None:
    token = bearer(await kube.pod_token(ca.client, "shop", "bob-1", by="bob"))
    answer = await ca.ask(token, lifetime=lifetime)
    if seconds is None:
        assert (answer.code, answer.chain) == ("INVALID_ARGUMENT", ())
    else:
        start, end = bundle.validity(answer.chain[0].encode())
        assert end - start == seconds + 120


# Node agents. Each case: the pod that asks, its account and node, what it asks for.
AGENT = ("istio-system", "ztunnel-a", "ztunnel", "node-a")
HERE, THERE = "spiffe://cluster.local/ns/shop/sa/here", "spiffe://cluster.local/ns/shop/sa/there"
REFUSED: dict[str, tuple[tuple[str, str, str, str], object]] = {
    "an account on another node": (AGENT, THERE),
    "an account without pods": (AGENT, "spiffe://cluster.local/ns/shop/sa/nobody"),
    "an account of another namespace": (AGENT, "spiffe://cluster.local/ns/bank/sa/here"),
    "an account of another cluster": (AGENT, "spiffe://other/ns/shop/sa/here"),
    "an account whose pod has ended": (AGENT, "spiffe://cluster.local/ns/shop/sa/ended"),
    "the CA": (AGENT, "spiffe://cluster.local/ns/istio-system/sa/seine-ca"),
    "escaped": (AGENT, "spiffe://cluster.local/ns/shop/sa/x%2f..%2fhere"),
    "no identity": (AGENT, "here"),
    "a list": (AGENT, [HERE]),
    "a structure": (AGENT, {"id": HERE}),
    "a number": (AGENT, 7),
    "asked by a workload of the node": (("shop", "here-2", "here", "node-a"), HERE),
    "asked by its namesake elsewhere": (("shop", "ztunnel-a", "ztunnel", "node-a"), HERE),
}


async def populate(client: Client) -> None:
    for name, by, on in (("here-1", "here", "node-a"), ("there-1", "there", "node-b")):
        await kube.pod(client, "shop", name, by=by, on=on)
    await kube.pod(client, "shop", "ended-1", by="ended", on="node-a")
    path = "/api/v1/namespaces/shop/pods/ended-1/status"
    ended = {"status": {"phase": "Succeeded"}}
    kind = "application/merge-patch+json"
    await client.request("PATCH", path, body=ended, content_type=kind)


async def impersonated(ca: ClusterCa, agent: tuple[str, str, str, str], wanted: object) -> Answer:
    """Ask; a pod that the CA has not heard of yet is told to come back, and does."""
    namespace, name, by, on = agent
    token = bearer(await kube.pod_token(ca.client, namespace, name, by=by, on=on))
    async with asyncio.timeout(60):
        while True:
            answer = await ca.ask(token, wishes={"ImpersonatedIdentity": wanted})
            if answer.code != "UNAVAILABLE":
                return answer
            await asyncio.sleep(0.05)


async def wrongly_impersonated(ca: ClusterCa) -> dict[str, str]:
    found = {name: await impersonated(ca, *case) for name, case in REFUSED.items()}
    return {name: it.code for name, it in found.items() if it.chain}


async def test_a_node_agent_gets_what_runs_on_its_node(ca: ClusterCa) -> None:
    await populate(ca.client)
    answer = await impersonated(ca, AGENT, HERE)
    leaf = bundle.parse(answer.chain[0].encode())[0]
    assert str(verify.identity_of(leaf)) == HERE
    wrong = await wrongly_impersonated(ca)
    sys.stdout.write(f"node agents: {len(REFUSED)} cases, wrong grants = {len(wrong)}\n")
    assert wrong == {}


async def test_a_node_agent_loses_what_leaves_its_node(ca: ClusterCa) -> None:
    await populate(ca.client)
    await kube.pod(ca.client, "shop", "brief-1", by="brief", on="node-a")
    wanted = "spiffe://cluster.local/ns/shop/sa/brief"

    async def is_granted() -> bool:
        return (await impersonated(ca, AGENT, wanted)).code == "OK"

    async def is_refused() -> bool:
        return not await is_granted()

    await until(is_granted)  # the CA has heard of the pod
    await kube.delete_pod(ca.client, "shop", "brief-1")
    await until(is_refused)
    assert (await impersonated(ca, AGENT, wanted)).code == "PERMISSION_DENIED"


async def test_a_replaced_agents_token_is_worth_nothing(ca: ClusterCa) -> None:
    """Its pod of the same name is another one, perhaps on another node."""
    await populate(ca.client)
    old = bearer(await kube.pod_token(ca.client, "istio-system", "zt-1", by="ztunnel", on="node-a"))
    await kube.delete_pod(ca.client, "istio-system", "zt-1")
    await kube.pod(ca.client, "istio-system", "zt-1", by="ztunnel", on="node-b")
    answer = await ca.ask(old, wishes={"ImpersonatedIdentity": HERE})
    assert answer.code == "UNAUTHENTICATED"


async def test_nobody_is_trusted_by_default(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    config = write_kubeconfig(server, tmp_path / "config")
    async with cluster_ca(tmp_path, client, str(config)) as ca:
        await populate(client)
        assert (await impersonated(ca, AGENT, HERE)).code == "PERMISSION_DENIED"


async def test_the_negative_control_an_index_that_knows_no_nodes(
    ca: ClusterCa, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_agents.PodIndex, "runs", lambda *_: True)
    await populate(ca.client)
    wrong = await wrongly_impersonated(ca)
    sys.stdout.write(f"node agents, check off: wrong grants = {len(wrong)}\n")
    assert {"an account on another node", "an account whose pod has ended", "the CA"} <= set(wrong)
