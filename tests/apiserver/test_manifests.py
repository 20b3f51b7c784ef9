"""The manifests of deploy/ and of the bookshop, applied to a real API server with kubectl."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.runtime.settings import load
from services.ca.settings import Settings
from tests.support import kube_apiserver
from tests.support.kube_apiserver import ApiServer
from tests.support.kubeconfig import write_kubeconfig

ROOT = Path(__file__).parents[2]
CANARY = "canary"
"""What goes beside another."""
OVERLAYS = sorted({path.name for path in (ROOT / "deploy/overlays").iterdir()} - {CANARY})
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
CACHE = "/api/v1/namespaces/istio-system/secrets/seine-cache"


Objects = dict[tuple[str, str], Any]
"""By plural and name."""


class Kubectl:
    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.server = server
        self._config = write_kubeconfig(server, folder / "kubeconfig")
        self._program = kube_apiserver.binary("kubectl")

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self._program, *arguments)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        path = f"PATH={Path(self._program).parent}:/usr/local/bin:/usr/bin:/bin"
        with_config = ["env", path, f"KUBECONFIG={self._config}", *command]
        return subprocess.run(with_config, cwd=ROOT, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    folder = tmp_path_factory.mktemp("apiserver")
    with kube_apiserver.running(folder) as server:
        yield Kubectl(server, folder)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_is_accepted_without_a_warning(kubectl: Kubectl, overlay: str) -> None:
    install(kubectl, overlay)


def install(kubectl: Kubectl, overlay: str) -> None:
    done = kubectl(
        "apply", "--server-side", "--force-conflicts", "-k", f"deploy/overlays/{overlay}"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_privileged_pod_would_be_refused_beside_them(kubectl: Kubectl) -> None:
    kubectl("apply", "--server-side", "-f", "deploy/base/namespace.yaml")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "greedy"},
        "spec": {"hostNetwork": True, "containers": [{"name": "greedy", "image": "greedy"}]},
    }
    status, answer = kubectl.server.create("/api/v1/namespaces/istio-system/pods", pod)
    assert status == 403
    assert "restricted" in answer["message"]


def test_the_bookshop_is_accepted(kubectl: Kubectl) -> None:
    crds = kubectl("apply", "--server-side", "-k", "deploy/crds")
    assert crds.returncode == 0, crds.stderr
    crds = kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
    assert crds.returncode == 0, crds.stderr
    kubectl.server.request("DELETE", WEBHOOKS)  # nobody answers for them here
    done = kubectl("apply", "--server-side", "-k", "examples/bookshop/cluster")
    assert done.returncode == 0, done.stderr


def test_the_secret_of_the_cache_is_made_once(kubectl: Kubectl) -> None:
    assert kubectl.run("deploy/cache-secret").returncode == 0
    _, first = kubectl.server.get(CACHE)
    assert set(first["data"]) == {"auth.conf", "password", "seal-key"}
    assert kubectl.run("deploy/cache-secret").returncode == 0
    _, second = kubectl.server.get(CACHE)
    assert second["data"] == first["data"]


@pytest.fixture(name="revisions", scope="module")
def two_revisions(kubectl: Kubectl) -> tuple[Objects, Objects]:
    """Return what there is of the first alone, and of both."""
    install(kubectl, OVERLAYS[0])
    before = everything(kubectl)
    install(kubectl, CANARY)
    return before, everything(kubectl)


def test_a_second_revision_stands_beside_the_first(revisions: tuple[Objects, Objects]) -> None:
    """Nothing of the first is touched, and no pod of one serves what asks for the other."""
    before, after = revisions
    assert {key: after[key] for key in before} == before
    assert {name for kind, name in after.keys() - before.keys() if kind == "deployments"} == {
        f"seine-{part}-{CANARY}" for part in ("ca", "config-push", "discovery", "redis", "webhook")
    }
    pods = {
        name: it["spec"]["template"]["metadata"]["labels"]
        for (kind, name), it in after.items()
        if kind == "deployments"
    }
    shared = {"seine-config-push-replicas"}
    for (kind, name), it in after.items():
        if kind == "services" and name not in shared and it["spec"].get("selector"):
            chosen = {pod for pod, labels in pods.items() if fits(it["spec"]["selector"], labels)}
            assert chosen, name
            assert all(pod.endswith(CANARY) is name.endswith(CANARY) for pod in chosen), name
    everywhere = after["services", "seine-config-push-replicas"]["spec"]["selector"]
    assert {pod for pod, labels in pods.items() if fits(everywhere, labels)} == {
        "seine-config-push",
        f"seine-config-push-{CANARY}",
    }


def fits(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def everything(kubectl: Kubectl) -> Objects:
    """Return what is there of the control plane, as it is wanted, by kind and name."""
    apps = "/apis/apps/v1/namespaces/istio-system"
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    of_namespace = "/api/v1/namespaces/istio-system"
    found = {}
    for folder, plurals in (
        (apps, ("deployments",)),
        (of_namespace, ("services", "configmaps", "serviceaccounts")),
        (f"{rbac}/namespaces/istio-system", ("roles", "rolebindings")),
        (rbac, ("clusterroles", "clusterrolebindings")),
    ):
        for plural in plurals:
            status, answer = kubectl.server.get(f"{folder}/{plural}")
            assert status == 200
            for it in answer["items"]:
                it["metadata"].pop("managedFields", None)
                found[plural, it["metadata"]["name"]] = it
    return found


@pytest.mark.usefixtures("revisions")
@pytest.mark.parametrize(
    ("labels", "pod_labels", "asked"),
    [
        ({"istio.io/rev": CANARY}, {}, f"seine-webhook-{CANARY}"),
        ({}, {"istio.io/rev": CANARY}, f"seine-webhook-{CANARY}"),
        ({"istio.io/rev": "default"}, {}, "seine-webhook"),
        ({"istio-injection": "enabled"}, {}, "seine-webhook"),
        ({"istio-injection": "enabled", "istio.io/rev": CANARY}, {}, "seine-webhook"),
        ({"istio.io/rev": "another"}, {}, None),
        ({}, {}, None),
    ],
)
def test_each_revision_is_asked_about_the_pods_that_ask_for_it(
    kubectl: Kubectl, labels: dict[str, str], pod_labels: dict[str, str], asked: str | None
) -> None:
    """Nobody answers here: whom an API server has asked it says when it turns the pod away."""
    metadata = {"generateName": "asks-", "labels": labels}
    status, made = kubectl.server.create("/api/v1/namespaces", {"metadata": metadata})
    assert status == 201
    pod = {
        "metadata": {"name": "a", "labels": pod_labels},
        "spec": {"serviceAccountName": "default", "containers": [{"name": "a", "image": "a"}]},
    }
    path = f"/api/v1/namespaces/{made['metadata']['name']}/pods"
    status, answer = kubectl.server.create(path, pod)
    if asked is None:
        assert status == 201, answer
        return
    assert status == 500
    assert "failed calling webhook" in answer["message"]
    assert f"https://{asked}.istio-system.svc:443/inject" in answer["message"]


def test_agents_of_nodes_are_trusted_only_with_their_component(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    """With it the CA may follow pods, which is how it knows who runs on an agent's node."""
    install(kubectl, "prod")
    ask = (
        "auth",
        "can-i",
        "watch",
        "pods",
        "-A",
        "--as",
        "system:serviceaccount:istio-system:seine-ca",
    )
    assert kubectl(*ask).stdout.strip() == "no"
    deploy = os.path.relpath(ROOT / "deploy", tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(
        f"resources: [{deploy}/overlays/prod]\ncomponents: [{deploy}/components/node-agents]\n"
    )
    done = kubectl("apply", "--server-side", "--force-conflicts", "-k", str(tmp_path))
    assert done.returncode == 0, done.stderr
    try:
        assert kubectl(*ask).stdout.strip() == "yes"
        path = "jsonpath={.spec.template.spec.containers[0].env}"
        made = kubectl("get", "deployment", "seine-ca", "-n", "istio-system", "-o", path)
        environ = {one["name"]: one.get("value", "") for one in json.loads(made.stdout)}
        assert load(Settings, environ).trusted_node_accounts == ("istio-system/ztunnel",)
    finally:
        kubectl("delete", "-f", "deploy/components/node-agents/rbac.yaml")
