"""Settings of sidecars in a folder of manifests: as in a cluster, an injector would read them."""

from pathlib import Path

from services.local import manifests

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: shop
  labels: {{app: {name}, sidecar.istio.io/inject: "true"}}
  annotations: {{proxy.istio.io/config: "{config}"}}
spec: {{containers: [{{name: app, command: [python, -m, x]}}]}}
"""
MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    defaultConfig:
      drainDuration: 7s
      statusPort: 25020
      proxyMetadata: {A: mesh, B: mesh}
---
apiVersion: networking.istio.io/v1beta1
kind: ProxyConfig
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, concurrency: 3, environmentVariables: {B: web}}
"""


def settings(folder: Path, *documents: str) -> dict[str, object]:
    (folder / "all.yaml").write_text("---".join(documents))
    return {pod.name: dict(pod.proxy) for pod in manifests.read(folder).pods}


def test_mesh_workload_and_annotation_are_laid_over_each_other(tmp_path: Path) -> None:
    web, other = POD.format(name="web", config="drainDuration: 1s"), POD.format(name="b", config="")
    assert settings(tmp_path, web, other, MESH) == {
        "web": {
            "drainDuration": "1s",
            "proxyMetadata": {"A": "mesh", "B": "web"},
            "concurrency": 3,
        },
        "b": {"drainDuration": "7s", "proxyMetadata": {"A": "mesh", "B": "mesh"}},
    }


def test_what_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    bad = MESH.replace("7s", "soon")
    assert settings(tmp_path, POD.format(name="b", config="a: ["), bad) == {"b": {}}


def test_other_settings_of_a_proxy_start_nothing_anew(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(POD.format(name="web", config="concurrency: 1"))
    (before,) = manifests.read(tmp_path).pods
    (tmp_path / "a.yaml").write_text(POD.format(name="web", config="concurrency: 2"))
    (after,) = manifests.read(tmp_path).pods
    assert after.proxy != before.proxy
    assert after.runs_like(before)
