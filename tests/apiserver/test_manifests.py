"""The manifests of deploy/ and of the bookshop, applied to a real API server with kubectl."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import kube_apiserver
from tests.support.kube_apiserver import ApiServer
from tests.support.kubeconfig import write_kubeconfig

ROOT = Path(__file__).parents[2]
OVERLAYS = sorted(path.name for path in (ROOT / "deploy/overlays").iterdir())
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
CACHE = "/api/v1/namespaces/istio-system/secrets/seine-cache"


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
    crds = kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
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
