"""Whole workloads: the pods in them are injected, and nothing else of them is touched."""

from typing import Any

import pytest

from libs.inject.manifests import injected, pod_of
from libs.inject.scene import Cluster, Settings

POD = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app"}]}}


def _workload(kind: str) -> dict[str, Any]:
    template: dict[str, Any] = {"replicas": 2, "template": POD}
    spec = (
        {"schedule": "* * * * *", "jobTemplate": {"spec": template}}
        if kind == "CronJob"
        else template
    )
    if kind == "Pod":
        return {"kind": kind, "apiVersion": "v1", **POD, "metadata": {"name": "web"}}
    return {"kind": kind, "apiVersion": "x/v1", "metadata": {"name": "web"}, "spec": spec}


def _injected(document: dict[str, Any]) -> Any:  # noqa: ANN401
    return injected(document, cluster=Cluster(), settings=Settings())


@pytest.mark.parametrize(
    "kind",
    [
        "CronJob",
        "DaemonSet",
        "Deployment",
        "DeploymentConfig",
        "Job",
        "Pod",
        "ReplicaSet",
        "ReplicationController",
        "StatefulSet",
    ],
)
def test_every_kind_that_makes_pods(kind: str) -> None:
    document = _workload(kind)
    done = _injected(document)
    made = pod_of(done.document)
    assert made is not None
    assert [one["name"] for one in made["spec"]["initContainers"]] == ["istio-init", "istio-proxy"]
    assert done.document["metadata"]["name"] == "web"
    assert f"{kind.lower()}s/web" in str(made)
    if kind not in {"Pod", "CronJob"}:
        assert done.document["spec"]["replicas"] == 2


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "Service", "spec": {"template": POD}},
        {"kind": "Deployment"},
        {"kind": "Deployment", "spec": 5},
        {"kind": "Deployment", "spec": {"template": []}},
        {},
    ],
)
def test_what_makes_no_pods_comes_out_as_it_went_in(document: dict[str, Any]) -> None:
    done = _injected(document)
    assert done.document == document
    assert not done.refused


def test_what_cannot_be_injected_says_why() -> None:
    document = _workload("Deployment")
    document["spec"] = {"template": {"spec": {"containers": "none"}}}
    assert _injected(document).refused
    note = {"annotations": {"sidecar.istio.io/logLevel": "loud"}}
    document["spec"] = {"template": {**POD, "metadata": note}}
    assert _injected(document).refused
