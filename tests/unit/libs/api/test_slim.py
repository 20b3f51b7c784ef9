"""What is decoded straight from bytes is what the careful way gives, but for what is left out."""

import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from libs.api import kubernetes
from libs.api.decode import decode
from libs.api.resource import Resource
from libs.api.secret import Secret
from libs.api.slim import Slim

METADATA: dict[str, Any] = {
    "name": "web-1",
    "namespace": "shop",
    "uid": "5d1f",
    "resourceVersion": "17",
    "generation": 3,
    "creationTimestamp": "2026-11-01T08:00:00Z",
    "labels": {"app": "web", "pod-template-hash": "abc"},
    "annotations": {
        "networking.istio.io/exportTo": ".",
        "kubectl.kubernetes.io/last-applied-configuration": "x" * 1000,
    },
    "ownerReferences": [
        {"apiVersion": "v1", "kind": "Job", "name": "other", "uid": "1"},
        {"apiVersion": "v1", "kind": "ReplicaSet", "name": "rs", "uid": "2", "controller": True},
    ],
    "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
}
OBJECTS: list[tuple[type[Resource], str, dict[str, Any]]] = [
    (kubernetes.Namespace, "v1", {"spec": {"finalizers": ["kubernetes"]}}),
    (
        kubernetes.Node,
        "v1",
        {
            "status": {
                "addresses": [{"type": "ExternalIP", "address": "192.0.2.1"}],
                "images": [{"names": ["a"], "sizeBytes": 1}],
            }
        },
    ),
    (kubernetes.ServiceAccount, "v1", {"secrets": [{"name": "x"}]}),
    (
        kubernetes.Service,
        "v1",
        {
            "spec": {
                "clusterIP": "10.0.0.1",
                "clusterIPs": ["10.0.0.1"],
                "ports": [
                    {"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"},
                    {"port": 90, "targetPort": 91, "appProtocol": "kubernetes.io/h2c"},
                ],
                "selector": {"app": "web"},
                "type": "ClusterIP",
                "externalIPs": ["192.0.2.2"],
                "sessionAffinity": "None",
                "internalTrafficPolicy": "Local",
                "trafficDistribution": "PreferClose",
            },
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1", "ports": []}]}},
        },
    ),
    (
        kubernetes.Pod,
        "v1",
        {
            "spec": {
                "containers": [
                    {"name": "web", "image": "i", "ports": [{"containerPort": 80, "name": "web"}]}
                ],
                "initContainers": [{"name": "istio-proxy", "restartPolicy": "Always"}],
                "serviceAccountName": "web",
                "nodeName": "n1",
                "volumes": [{"name": "v"}],
            },
            "status": {
                "phase": "Running",
                "podIP": "10.1.0.1",
                "podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::1"}],
                "conditions": [{"type": "Ready", "status": "True", "lastProbeTime": None}],
            },
        },
    ),
    (
        kubernetes.EndpointSlice,
        "discovery.k8s.io/v1",
        {
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": ["10.1.0.1"],
                    "conditions": {"ready": True, "serving": True, "terminating": False},
                    "nodeName": "n1",
                    "zone": "a",
                    "targetRef": {"kind": "Pod", "name": "web-1", "namespace": "shop", "uid": "3"},
                }
            ],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        },
    ),
    (
        kubernetes.EndpointSlice,
        "discovery.k8s.io/v1",
        {"addressType": "IPv6", "endpoints": None, "ports": None},
    ),
    (Secret, "v1", {"type": "Opaque", "data": {"tls.crt": "YQ==", "ca.crt": "Yg=="}}),
]


def _raw(kind: type[Resource], api_version: str, fields: dict[str, Any]) -> dict[str, Any]:
    metadata = dict(METADATA)
    if kind in {kubernetes.Namespace, kubernetes.Node}:
        del metadata["namespace"]
    return {"apiVersion": api_version, "kind": kind.__name__, "metadata": metadata, **fields}


@pytest.mark.parametrize(("kind", "api_version", "fields"), OBJECTS)
def test_it_is_what_the_careful_way_gives(
    kind: type[Resource], api_version: str, fields: dict[str, Any]
) -> None:
    raw = _raw(kind, api_version, fields)
    careful, problems = decode(raw)
    assert careful is not None, problems
    metadata = replace(
        careful.metadata,
        uid="",
        resource_version="",
        generation=0,
        annotations={"networking.istio.io/exportTo": "."},
        owner_references=careful.metadata.owner_references[1:],
    )
    assert Slim().decode(kind, json.dumps(raw).encode()) == replace(careful, metadata=metadata)


def test_what_is_left_out_is_no_change() -> None:
    slim = Slim()
    raw = _raw(*OBJECTS[4])
    before = slim.decode(kubernetes.Pod, json.dumps(raw).encode())
    raw["metadata"]["resourceVersion"] = "18"
    raw["metadata"]["managedFields"] = []
    raw["status"]["conditions"].append({"type": "Initialized", "status": "True"})
    assert slim.decode(kubernetes.Pod, json.dumps(raw).encode()) == before
    raw["status"]["conditions"][0]["status"] = "False"
    assert slim.decode(kubernetes.Pod, json.dumps(raw).encode()) != before


def test_what_pods_share_is_kept_once() -> None:
    slim = Slim()
    pods = [slim.decode(kubernetes.Pod, json.dumps(_raw(*OBJECTS[4])).encode()) for _ in "ab"]
    first, second = (pod for pod in pods if isinstance(pod, kubernetes.Pod))
    assert first.metadata.labels is second.metadata.labels
    assert first.spec.containers is second.spec.containers
    assert first.spec.node_name is second.spec.node_name


def test_passwords_are_not_kept() -> None:
    raw = _raw(Secret, "v1", {"type": "Opaque", "data": {"password": "YQ==", "key": "Yg=="}})
    found = Slim().decode(Secret, json.dumps(raw).encode())
    assert isinstance(found, Secret)
    assert set(found.data) == {"key"}


def test_what_does_not_look_as_it_should_is_left_to_the_careful_way() -> None:
    with pytest.raises(msgspec.DecodeError):
        Slim().decode(kubernetes.Service, b'{"metadata": {"name": 7}}')


def test_other_kinds_are_not_decoded_here() -> None:
    assert Slim().decode(kubernetes.ConfigMap, b'{"metadata": {"name": "a"}}') is None
