"""`seinectl inject`: files in, the same files out with proxies in what makes pods."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from services.ctl import inject, validate
from services.ctl.app import app

MANIFESTS = """
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
# A comment is not kept.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 2
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: web, command: ["on", "0x1F", "1e3", "null"]}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: job, image: job}]}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: one}, spec: {containers: [{name: a, image: a}]}}
- {apiVersion: v1, kind: Service, metadata: {name: web}, spec: {ports: [{port: 80}]}}
"""


def _run(tmp_path: Path, text: str, *arguments: str) -> tuple[int, list[Any], str]:
    path = tmp_path / "in.yaml"
    path.write_text(text)
    done = CliRunner().invoke(app, ["inject", "-f", str(path), *arguments])
    return done.exit_code, list(yaml.safe_load_all(done.stdout)), done.stderr


def _containers(spec: dict[str, Any]) -> list[str]:
    return [one["name"] for one in (*spec.get("initContainers", ()), *spec["containers"])]


def test_everything_that_makes_pods_gets_a_proxy(tmp_path: Path) -> None:
    status, (space, web, nightly, one, service), said = _run(tmp_path, MANIFESTS)
    assert (status, said) == (0, "")
    assert space == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    assert service["kind"] == "Service"
    template = web["spec"]["template"]["spec"]
    assert _containers(template) == ["istio-init", "istio-proxy", "app"]
    assert template["containers"][0]["command"] == ["on", "0x1F", "1e3", "null"]
    assert web["spec"]["replicas"] == 2
    job = nightly["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert _containers(job) == ["istio-init", "istio-proxy", "job"]
    assert _containers(one["spec"]) == ["istio-init", "istio-proxy", "a"]


def test_the_workload_is_known_by_its_own_name(tmp_path: Path) -> None:
    _, (_, web, nightly, *_), _ = _run(tmp_path, MANIFESTS)
    assert "namespaces/shop/deployments/web" in str(web)
    assert "apis/batch/v1/namespaces/default/cronjobs/nightly" in str(nightly)


def test_what_was_injected_can_be_injected_again(tmp_path: Path) -> None:
    _, first, _ = _run(tmp_path, MANIFESTS)
    _, second, _ = _run(tmp_path, inject.written(first))
    assert second == first


def test_who_does_not_want_one_is_named(tmp_path: Path) -> None:
    text = MANIFESTS.replace("{app: web}", "{app: web, sidecar.istio.io/inject: 'false'}")
    status, (_, web, *_), said = _run(tmp_path, text)
    assert status == 0
    assert _containers(web["spec"]["template"]["spec"]) == ["app"]
    assert "in.yaml:7: Deployment/shop/web: not injected" in said


def test_a_refusal_prints_no_manifest(tmp_path: Path) -> None:
    note = "annotations: {sidecar.istio.io/proxyCPU: lots}, "
    text = MANIFESTS.replace("metadata: {labels", f"metadata: {{{note}labels")
    status, documents, said = _run(tmp_path, text)
    assert (status, documents) == (1, [])
    assert "sidecar.istio.io/proxyCPU" in said


def test_what_is_no_pod_is_named(tmp_path: Path) -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: odd}\nspec: {containers: 5}\n"
    status, _, said = _run(tmp_path, text)
    assert status == 1
    assert "not a pod" in said


def test_settings_come_from_files_and_from_manifests(tmp_path: Path) -> None:
    mesh, values = tmp_path / "mesh.yaml", tmp_path / "values.yaml"
    mesh.write_text("defaultConfig: {holdApplicationUntilProxyStarts: true}\n")
    values.write_text(
        '{"global": {"hub": "registry.example", "tag": "v7", "proxy": {"image": "p"}}}'
    )
    config = """---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector}
data: {config: "injectedAnnotations: {team: mesh}"}
"""
    options = ("--mesh-config-file", str(mesh), "--values-file", str(values))
    _, (_, web, *_), _ = _run(tmp_path, MANIFESTS + config, *options, "--no-native-sidecars")
    template = web["spec"]["template"]
    assert [one["name"] for one in template["spec"]["containers"]] == ["istio-proxy", "app"]
    assert template["spec"]["containers"][0]["image"] == "registry.example/p:v7"
    assert template["metadata"]["annotations"]["team"] == "mesh"


def test_a_broken_file_ends_the_command_with_its_line(tmp_path: Path) -> None:
    status, _, said = _run(tmp_path, "a: [\n")
    assert status == 2
    assert "in.yaml:2" in said


def test_standard_input_is_a_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(MANIFESTS.encode())))
    assert len(list(inject.read([validate.STDIN]))) == 5
