"""Where the mesh ends, in a cluster: a gateway's pods, and something outside that it knows by name.

Namespace `edge` is injected and STRICT: a gateway, and a server behind it that says what it was
asked. Namespace `outside` is not: another such server, at which a ServiceEntry leads, and from
where somebody calls the gateway.
"""

import base64
import json
from pathlib import Path
from typing import Any

from tests.support.certificates import TestAuthority
from tests.support.kind_cluster import Cluster, eventually

EDGE, OUTSIDE = "edge", "outside"
HOST = "shop.example.com"
"""What the gateway serves, with a certificate for it."""
ELSEWHERE = "elsewhere.example.com"
"""What the ServiceEntry names; no name server but the sidecar's has heard of it."""
_PROGRAMS = Path(__file__).parent / "cluster_programs"
_NAMES = ("echo.py", "ask.py")
_CAPTURE = "proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}"

Object = dict[str, Any]


class Edges:
    """Both namespaces. `image` has Python and aiohttp."""

    def __init__(self, cluster: Cluster, image: str) -> None:
        self._cluster = cluster
        self._image = image

    def start(self) -> None:
        """Create everything, after deleting what is left of last time; wait for ready pods."""
        self._cluster.kubectl("delete", "namespace", EDGE, OUTSIDE, "--ignore-not-found")
        self._apply([*_namespaces(), *_credentials(), *self._programs(), *_gateway()])
        for namespace, name in ((OUTSIDE, "echo"), (EDGE, "echo"), (EDGE, "gateway")):
            done = ("rollout", "status", f"deployment/{name}", "--timeout=180s")
            self._cluster.kubectl("-n", namespace, *done)
        self._apply([_elsewhere(self._address_outside())])

    def delete(self) -> None:
        """Take everything away."""
        for name in (EDGE, OUTSIDE):
            self._cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")

    def from_outside(self, host: str, *, seconds: float = 30) -> Object:
        """Return what somebody without a sidecar gets who asks the gateway for `https://host/`.

        The first answer with status 200 counts, or the last within `seconds`.
        """
        service = self._cluster.get("service", "gateway", "-n", EDGE)
        words = ("/", host, service["spec"]["clusterIP"])
        return eventually(lambda: self._asked(OUTSIDE, *words), _is_good, seconds)

    def from_inside(self, url: str, *, seconds: float = 30) -> Object:
        """Return what the server behind the gateway gets when it asks for a URL itself."""
        return eventually(lambda: self._asked(EDGE, url), _is_good, seconds)

    def pod(self, namespace: str, app: str) -> Object:
        """Return the one pod of an application."""
        found: Object = self._cluster.get("pods", "-n", namespace, "-l", f"app={app}")["items"][0]
        return found

    def _address_outside(self) -> str:
        return str(self.pod(OUTSIDE, "echo")["status"]["podIP"])

    def _asked(self, namespace: str, *words: str) -> Object:
        into = ("exec", "-n", namespace, "deployment/echo", "-c", "echo", "--")
        said = self._cluster.kubectl(*into, "python", "/programs/ask.py", *words)
        found: Object = json.loads(said)
        return found

    def _programs(self) -> list[Object]:
        text = {name: (_PROGRAMS / name).read_text() for name in _NAMES}
        both = [
            _object("v1", "ConfigMap", "programs", space, data=text) for space in (EDGE, OUTSIDE)
        ]
        return [
            *both,
            self._echo(EDGE),
            self._echo(OUTSIDE),
            _service("echo", {"http": (80, 8080)}),
        ]

    def _echo(self, namespace: str) -> Object:
        container = {
            "name": "echo",
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "/programs/echo.py"],
            "readinessProbe": {
                "httpGet": {"path": "/", "port": 8080},
                "periodSeconds": 1,
                "timeoutSeconds": 10,
            },
            "volumeMounts": [
                {"name": "programs", "mountPath": "/programs"},
                {"name": "certificates", "mountPath": "/certificates"},
            ],
        }
        volumes = [
            {"name": "programs", "configMap": {"name": "programs"}},
            {"name": "certificates", "configMap": {"name": "authority", "optional": True}},
        ]
        pod = {"containers": [container], "volumes": volumes}
        return _deployment("echo", namespace, pod, {"proxy.istio.io/config": _CAPTURE})

    def _apply(self, documents: list[Object]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        self._cluster.kubectl("apply", "-f", "-", text=text)


def _is_good(answer: Object) -> bool:
    return bool(answer["status"] == 200)


def _namespaces() -> list[Object]:
    strict = {"mtls": {"mode": "STRICT"}}
    injected = {"name": EDGE, "labels": {"istio-injection": "enabled"}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": injected},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OUTSIDE}},
        _object("security.istio.io/v1", "PeerAuthentication", "strict", EDGE, spec=strict),
    ]


def _credentials() -> list[Object]:
    """Return a certificate as `kubectl create secret tls` stores it, and whom to trust for it."""
    made = TestAuthority("edge").issue("edge", dns_names=(HOST,))
    files = {"tls.crt": made.chain, "tls.key": made.key}
    data = {name: base64.b64encode(content).decode() for name, content in files.items()}
    authority = {"ca.crt": made.roots.decode()}
    return [
        _object("v1", "Secret", "shop-cert", EDGE, type="kubernetes.io/tls", data=data),
        _object("v1", "ConfigMap", "authority", OUTSIDE, data=authority),
    ]


def _gateway() -> list[Object]:
    """Return a gateway as Istio's charts make it: the image is the injector's to say."""
    pod = {
        "serviceAccountName": "gateway",
        "containers": [{"name": "istio-proxy", "image": "auto", "imagePullPolicy": "IfNotPresent"}],
    }
    tls = {"mode": "SIMPLE", "credentialName": "shop-cert"}
    port = {"number": 443, "name": "https", "protocol": "HTTPS"}
    server = {"port": port, "hosts": [HOST], "tls": tls}
    networking = "networking.istio.io/v1"
    to_echo = {"destination": {"host": "echo", "port": {"number": 80}}}
    rules = {"hosts": [HOST], "gateways": ["shop"], "http": [{"route": [to_echo]}]}
    selector = {"selector": {"app": "gateway"}, "servers": [server]}
    return [
        _object("v1", "ServiceAccount", "gateway", EDGE),
        *_may_read_secrets(),
        _service("gateway", {"https": (443, 8443)}),
        _deployment("gateway", EDGE, pod, {"inject.istio.io/templates": "gateway"}),
        _object(networking, "Gateway", "shop", EDGE, spec=selector),
        _object(networking, "VirtualService", "shop", EDGE, spec=rules),
    ]


def _may_read_secrets() -> list[Object]:
    group = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "watch", "list"]}
    role = {"apiGroup": group, "kind": "Role", "name": "gateway"}
    subject = {"kind": "ServiceAccount", "name": "gateway", "namespace": EDGE}
    return [
        _object(f"{group}/v1", "Role", "gateway", EDGE, rules=[rule]),
        _object(f"{group}/v1", "RoleBinding", "gateway", EDGE, roleRef=role, subjects=[subject]),
    ]


def _elsewhere(address: str) -> Object:
    spec = {
        "hosts": [ELSEWHERE],
        "location": "MESH_EXTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}],
        "endpoints": [{"address": address}],
    }
    return _object("networking.istio.io/v1", "ServiceEntry", "elsewhere", EDGE, spec=spec)


def _service(name: str, ports: dict[str, tuple[int, int]]) -> Object:
    listed = [
        {"name": port, "port": number, "targetPort": target}
        for port, (number, target) in ports.items()
    ]
    return _object("v1", "Service", name, EDGE, spec={"selector": {"app": name}, "ports": listed})


def _deployment(name: str, namespace: str, pod: Object, annotations: dict[str, str]) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return _object("apps/v1", "Deployment", name, namespace, spec=spec)


def _object(version: str, kind: str, name: str, namespace: str, **body: object) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}
