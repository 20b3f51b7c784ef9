"""Steady load in a cluster: a server of several pods, somebody who keeps calling, and first calls.

All of it is in a namespace of its own, injected, under STRICT. The programs are ordinary ones and
know nothing of a mesh; no call is repeated by them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from tests.support.kind_cluster import Cluster, eventually

NAMESPACE = "steady"
URL = "http://server/"
PORT = 8080
RATE = 40
"""Calls a second."""
_PROGRAMS = Path(__file__).parent / "cluster_programs"
_NAMES = ("server.py", "caller.py", "first.py")
_PATIENCE = 300
_SLOW = 10
"""Seconds in which a pod answers its kubelet: a machine that has much to do is no failure."""

Object = dict[str, Any]


class Calls(Struct, frozen=True):
    """How many calls were answered, and what became of the others."""

    ok: int = 0
    failed: tuple[str, ...] = ()

    def since(self, before: "Calls") -> "Calls":
        """Return those that were made after `before`."""
        return Calls(self.ok - before.ok, self.failed[len(before.failed) :])


class Steady:
    """The namespace. `image` has Python and aiohttp."""

    def __init__(self, cluster: Cluster, image: str) -> None:
        self._cluster = cluster
        self._image = image

    def start(self, *, replicas: int, rate: float) -> None:
        """Create everything, after deleting what is left of last time; wait for answered calls."""
        self._cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
        documents = [*_foundation(), self._server(replicas), self._caller(rate)]
        self._apply(documents)
        for name in ("server", "caller"):
            self.settle(name)
        self.after(lambda: None, more=1)

    def delete(self) -> None:
        """Take everything away."""
        self._cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")

    def settle(self, deployment: str = "server") -> None:
        """Wait until a Deployment has rolled out."""
        self._kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={_PATIENCE}s")

    def roll_out(self) -> None:
        """Replace every pod of the server, as a new version does."""
        self._kubectl("rollout", "restart", "deployment/server")
        self.settle()

    def move(self, *labels: str) -> None:
        """Label the namespace otherwise, and replace the server's pods; the caller stays."""
        self._cluster.kubectl("label", "namespace", NAMESPACE, "--overwrite", *labels)
        self.roll_out()

    def server_pods(self) -> list[Object]:
        """Return the pods of the server that are not ending."""
        found = self._cluster.get("pods", "-n", NAMESPACE, "-l", "app=server")["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def delete_one(self) -> None:
        """Delete one pod of the server, and wait until another has taken its place."""
        pods = self._kubectl("get", "pods", "-l", "app=server", "-o", "name").split()
        self._kubectl("delete", pods[0])
        self.settle()

    def calls(self) -> Calls:
        """Return what the caller has seen so far."""
        lines = self._cluster.logs(NAMESPACE, "deployment/caller", "caller")
        read = [json.loads(line) for line in lines if line.startswith("{")]
        told = [line for line in read if "ok" in line]
        failed = [
            f"{line['at']:.1f} {line['call']}: {line['outcome']}"
            for line in read
            if "outcome" in line
        ]
        return Calls(told[-1]["ok"] if told else 0, tuple(failed))

    def after(self, happens: Callable[[], None], *, more: int) -> Calls:
        """Return the calls from before `happens` until `more` were answered after it."""
        before = self.calls()
        happens()
        then = self.calls()
        found = eventually(self.calls, lambda now: now.ok >= then.ok + more, seconds=_PATIENCE)
        assert found.ok >= then.ok + more, f"nothing is answered any more: {found.failed[-5:]}"
        return found.since(before)

    def first_calls(
        self,
        number: int,
        *,
        at_once: int,
        annotations: Mapping[str, str],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Object:
        """Start `number` pods that call once, and return the status of their Job when it ends."""
        self._kubectl("delete", "job", "first", "--ignore-not-found")
        self._apply([self._job(number, at_once, annotations)])
        meanwhile()

        def status() -> Object:
            found: Object = self._cluster.get("job", "first", "-n", NAMESPACE)["status"]
            return found

        return eventually(status, _ended, seconds=_PATIENCE + 5 * number)

    def not_created(self) -> list[str]:
        """Return why pods of first calls were refused at first, as events of their Job say."""
        events = self._cluster.get("events", "-n", NAMESPACE)["items"]
        of_job = [one for one in events if one["involvedObject"]["kind"] == "Job"]
        return [str(one["message"]) for one in of_job if one["reason"] == "FailedCreate"]

    def said_first(self) -> list[str]:
        """Return what the first calls of pods came to that failed."""
        return self._cluster.logs(NAMESPACE, "job/first", "first")

    def _server(self, replicas: int) -> Object:
        container = {
            **self._container("server", "/programs/server.py"),
            "ports": [{"name": "http", "containerPort": PORT}],
            "readinessProbe": {
                "httpGet": {"path": "/", "port": "http"},
                "periodSeconds": 1,
                "timeoutSeconds": _SLOW,
            },
        }
        return _deployment("server", replicas, container)

    def _caller(self, rate: float) -> Object:
        return _deployment(
            "caller", 1, self._container("caller", "/programs/caller.py", URL[:-1], str(rate))
        )

    def _job(self, number: int, at_once: int, annotations: Mapping[str, str]) -> Object:
        container = self._container("first", "/programs/first.py", URL)
        pod = {**_pod(container), "restartPolicy": "Never"}
        metadata = {"labels": {"app": "first"}, "annotations": dict(annotations)}
        spec = {
            "completions": number,
            "parallelism": at_once,
            "backoffLimit": 0,
            "template": {"metadata": metadata, "spec": pod},
        }
        return _object("batch/v1", "Job", "first", spec=spec)

    def _container(self, name: str, program: str, *arguments: str) -> Object:
        return {
            "name": name,
            "image": self._image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", program, *arguments],
            "volumeMounts": [{"name": "programs", "mountPath": "/programs"}],
        }

    def _apply(self, documents: Sequence[Object]) -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        self._cluster.kubectl("apply", "-f", "-", text=text)

    def _kubectl(self, *arguments: str) -> str:
        return self._cluster.kubectl("-n", NAMESPACE, *arguments)


def _ended(status: Mapping[str, Any]) -> bool:
    ends = {"Complete", "Failed"}
    conditions = status.get("conditions") or ()
    return any(one["type"] in ends and one["status"] == "True" for one in conditions)


def _foundation() -> list[Object]:
    programs = {name: (_PROGRAMS / name).read_text() for name in _NAMES}
    port = {"name": "http", "port": 80, "targetPort": "http"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"istio-injection": "enabled"}},
        },
        _object("v1", "ConfigMap", "programs", data=programs),
        _object("v1", "Service", "server", spec={"selector": {"app": "server"}, "ports": [port]}),
        _object(
            "security.istio.io/v1",
            "PeerAuthentication",
            "strict",
            spec={"mtls": {"mode": "STRICT"}},
        ),
    ]


def _deployment(name: str, replicas: int, container: Object) -> Object:
    template = {"metadata": {"labels": {"app": name}}, "spec": _pod(container)}
    selector = {"matchLabels": {"app": name}}
    spec = {"replicas": replicas, "selector": selector, "template": template}
    return _object("apps/v1", "Deployment", name, spec=spec)


def _pod(container: Object) -> Object:
    volume = {"name": "programs", "configMap": {"name": "programs"}}
    return {"containers": [container], "volumes": [volume]}


def _object(version: str, kind: str, name: str, **body: object) -> Object:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}
