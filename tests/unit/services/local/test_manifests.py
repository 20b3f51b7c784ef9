from pathlib import Path

from services.local import manifests
from services.local.options import SAMPLE

POD = """
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec:
  serviceAccountName: web
  containers:
    - name: web
      command: [python, -m, web]
      args: [--fast]
      env:
        - {name: COLOUR, value: red}
        - name: ADDRESS
          valueFrom: {fieldRef: {fieldPath: status.podIP}}
      ports: [{name: http, containerPort: 9080}]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
"""
NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
"""


def _read(folder: Path, *texts: str) -> manifests.Application:
    (folder / "all.yaml").write_text("---".join(texts))
    return manifests.read(folder)


def test_the_sample_has_eleven_pods_and_one_of_them_no_sidecar() -> None:
    application = manifests.read(SAMPLE)
    assert application.whole
    assert len(application.pods) == 11
    assert [pod.key for pod in application.pods if not pod.sidecar] == ["legacy-v1.bookshop"]
    reviews = next(it for it in application.services if it.name == "reviews")
    selected = [pod.name for pod in application.pods if reviews.selects(pod)]
    assert selected == ["reviews-v1", "reviews-v2", "reviews-v3"]


def test_a_pod_is_what_its_first_container_runs(tmp_path: Path) -> None:
    application = _read(tmp_path, NAMESPACE, POD, SERVICE)
    (pod,), (service,) = application.pods, application.services
    assert pod.command == ("python", "-m", "web", "--fast")
    assert pod.environment == {"COLOUR": "red"}
    assert pod.fields == {"ADDRESS": "status.podIP"}
    assert (pod.ports, pod.listens) == ({"http": 9080}, (9080,))
    assert pod.sidecar
    assert service.ports == (("http", 80, "http"),)
    assert service.names == ("web", "web.shop", "web.shop.svc", "web.shop.svc.cluster.local")


def test_a_sidecar_is_asked_for_by_the_namespace_or_the_pod(tmp_path: Path) -> None:
    assert not _read(tmp_path, POD).pods[0].sidecar
    label = "labels: {app: web, sidecar.istio.io/inject: 'true'}"
    assert _read(tmp_path, POD.replace("labels: {app: web}", label)).pods[0].sidecar
    label = label.replace("true", "false")
    assert not _read(tmp_path, NAMESPACE, POD.replace("labels: {app: web}", label)).pods[0].sidecar


def test_a_pod_without_a_command_cannot_run_here(tmp_path: Path) -> None:
    text = POD.replace("      command: [python, -m, web]\n", "")
    assert _read(tmp_path, text).pods == ()


def test_a_bad_document_takes_nothing_down(tmp_path: Path) -> None:
    before = _read(tmp_path, NAMESPACE, POD, SERVICE)
    after = _read(tmp_path, NAMESPACE, POD.replace("metadata:", "metadata: ["), SERVICE)
    assert not after.whole
    assert after.pods == ()
    assert [pod.key for pod in after.over(before).pods] == ["web-1.shop"]
    removed = _read(tmp_path, NAMESPACE, SERVICE)
    assert removed.whole
    assert removed.over(before).pods == ()


def test_only_labels_may_change_while_a_pod_runs(tmp_path: Path) -> None:
    before = _read(tmp_path, POD).pods[0]
    relabelled = _read(tmp_path, POD.replace("app: web", "app: shop")).pods[0]
    other = _read(tmp_path, POD.replace("red", "blue")).pods[0]
    assert relabelled.runs_like(before)
    assert not other.runs_like(before)


def test_a_stamp_changes_with_any_file(tmp_path: Path) -> None:
    _read(tmp_path, POD)
    first = manifests.stamp(tmp_path)
    assert manifests.stamp(tmp_path) == first
    (tmp_path / "more.yaml").write_text(SERVICE)
    assert manifests.stamp(tmp_path) != first
