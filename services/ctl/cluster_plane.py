"""ClusterPlane: the control plane of a cluster, asked page by page at each of its pods.

Ports of pods are reached through the API server and their kubelets, as `kubectl port-forward`
does: who may do that in the system namespace may see what the control plane knows, and nothing has
to be set up. Every replica of config-push knows other proxies, so all are asked at once; of
discovery the first that answers is enough, because all know the same.
"""

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

from google.protobuf.json_format import ParseDict
from msgspec import Struct

from libs.kube import access, forward
from libs.kube.client import Client
from libs.kube.errors import ForbiddenError, KubeError, NotFoundError
from libs.kube.execute import STDERR, execute
from libs.model import revisions
from libs.protos.feed.v1.feed_pb2 import Problem
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from services.ctl import merging, mesh, output
from services.ctl.cluster import Misused
from services.ctl.following import Following
from services.ctl.mesh import RequestError
from services.ctl.plane import Json
from services.ctl.where import Cluster

T = TypeVar("T")
MONITORING_PORT = 15014
ADMIN_PORT = 15000
CONFIG_PUSH, DISCOVERY = "seine-config-push", "seine-discovery"
LABEL = "app.kubernetes.io/name"
_REVISION = "istio.io/rev"
_PROXY = "istio-proxy"
_DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
_NOT_FOUND = 404


class Pod(Struct, frozen=True):
    """A pod of the control plane."""

    name: str
    phase: str
    ready: bool
    revision: str = revisions.DEFAULT


Pages = dict[str, bytes]
"""What pods answered, by their names."""


@contextmanager
def opened(cluster: Cluster, namespace: str) -> Iterator["ClusterPlane"]:
    """Yield the plane of a cluster; what goes wrong ends the command and says what to do."""
    way = access.load(cluster.kubeconfig, cluster.context)
    hint = f"kubeconfig: {cluster.kubeconfig}"
    with asyncio.Runner() as runner:
        client = Client(way)
        try:
            runner.run(client.__aenter__())
            try:
                plane = ClusterPlane(client, runner, cluster, namespace=namespace)
                yield plane
                for replica, reason in plane.missing.items():
                    output.note(f"{replica} did not answer, what it knows is missing: {reason}")
            finally:
                runner.run(client.__aexit__(None, None, None))
        except Misused as error:
            output.fail(str(error), hint=error.hint)
        except ForbiddenError as error:
            output.fail(f"not allowed: {error.message}", hint=f"{hint}\n{_ROLE}")
        except KubeError as error:
            output.fail(str(error), hint=hint)


_ROLE = "The ClusterRole seine-viewer of deploy/viewer.yaml has what seinectl needs."


class ClusterPlane:
    """See `plane.Plane`. Make it with `opened`."""

    def __init__(
        self, client: Client, runner: asyncio.Runner, cluster: Cluster, *, namespace: str = ""
    ) -> None:
        self.client = client
        self.cluster = cluster
        self.system_namespace = cluster.system_namespace
        self._runner = runner
        self._namespace = namespace
        self._missing: dict[str, str] = {}
        self._statuses: list[Json] | None = None

    @property
    def missing(self) -> Mapping[str, str]:
        """Pods of the control plane that have not answered, and why."""
        return self._missing

    @property
    def expected(self) -> Sequence[str]:
        """Nobody: which pods have a proxy is known to the API server, and `check` asks it."""
        return ()

    def statuses(self) -> list[Json]:
        """Return rows of `syncz`, one a proxy."""
        if self._statuses is None:
            self._statuses = self.run(self._asked_statuses())
        return self._statuses

    def full_name(self, name: str) -> str:
        """Return the full name of a proxy that is connected, or the name as it is."""
        try:
            known = [str(row["proxy"]) for row in self.statuses()]
        except RequestError:
            known = []  # a pod can be looked at all the same
        return mesh.full_name(known, name, self._namespace)

    def dump(self, proxy: str) -> Json:
        """Return what a proxy was sent, as the replica says that has it now."""
        at = [str(row["replica"]) for row in self.statuses() if row["proxy"] == proxy]
        if not at:
            raise RequestError(f"no proxy {proxy} is connected")
        path = f"/debug/config_dump?proxyID={quote(proxy)}"
        found: Json = json.loads(self.run(self._page(at[0], path)))
        return found

    def certificates(self, proxy: str) -> Json:
        """Return what the admin page of the pod's Envoy says."""
        pod, namespace = _split(proxy)
        page = self.run(forward.get(self.client, namespace, pod, port=ADMIN_PORT, path="/certs"))
        found: Json = json.loads(page.body)
        return found

    def receipts(self, ref: str) -> list[Receipt]:
        """Return the receipts of all replicas, added up."""
        pages = self.run(self.all_pages(CONFIG_PUSH, f"/debug/receipts?ref={quote(ref)}"))
        return merging.receipts(json.loads(body) for _, body in sorted(pages.items()))

    def watch(self, ref: str, show: Callable[[Receipt], None]) -> None:
        """Follow the receipts of all replicas, from now on."""
        self.run(self._watch(ref, show))

    def problems(self) -> list[Problem]:
        """Return what discovery finds wrong."""
        return self._problems("/debug/problems")

    def analyzed(self) -> list[Problem]:
        """Return that, and what its analysis notices."""
        return [*self._problems("/debug/problems"), *self._problems("/debug/analysis")]

    def execute(self, proxy: str, command: Sequence[str]) -> int:
        """Run a command in the pod's own container."""
        return self.run(self._execute(proxy, command))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns."""
        return self._runner.run(work)

    async def pods(self, service: str) -> list[Pod]:
        """Return a service's pods of all revisions that have not ended, the default's first.

        Raises:
            Misused: there are none.

        """
        path = f"/api/v1/namespaces/{self.system_namespace}/pods"
        answer = await self.client.get(path, {"labelSelector": LABEL})
        meant = [it for it in answer["items"] if _is_of(it, service)]
        found = [_pod(it) for it in meant if not _has_ended(it)]
        if not found:
            text = f"no control plane in namespace {self.system_namespace}: it has no pods of"
            hint = "-i names another namespace; kubectl apply -k deploy/overlays/prod installs one"
            raise Misused(f"{text} {service}", hint)
        return sorted(found, key=_default_first)

    async def all_pages(self, service: str, path: str) -> Pages:
        """Return the page of every pod of a service; those that do not answer are `missing`.

        Raises:
            RequestError: nobody answered.

        """
        pods = await self.pods(service)
        bodies = await asyncio.gather(*(self._tried(pod, path) for pod in pods))
        found = {pod.name: body for pod, body in zip(pods, bodies, strict=True) if body is not None}
        if not found:
            raise self._nobody(service, pods)
        return found

    async def page_of_any(self, service: str, path: str) -> bytes:
        """Return the page of the first pod that answers.

        Raises:
            RequestError: nobody answered.

        """
        pods = sorted(await self.pods(service), key=lambda pod: not pod.ready)
        for pod in pods:
            body = await self._tried(pod, path)
            if body is not None:
                for other in pods:  # nothing of theirs is missing
                    self._missing.pop(other.name, None)
                return body
        raise self._nobody(service, pods)

    def _nobody(self, service: str, pods: Sequence[Pod]) -> RequestError:
        reasons = "; ".join(f"{pod.name}: {self._missing.pop(pod.name, '')}" for pod in pods)
        return RequestError(f"nobody of {service} answers: {reasons}")

    async def _tried(self, pod: Pod, path: str) -> bytes | None:
        if pod.phase != "Running":
            self._missing[pod.name] = f"it is {pod.phase}"
            return None
        try:
            body = await self._page(pod.name, path)
        except ForbiddenError:
            raise
        except (KubeError, RequestError) as error:
            self._missing[pod.name] = str(error)
            return None
        self._missing.pop(pod.name, None)
        return body

    async def _page(self, pod: str, path: str) -> bytes:
        port = MONITORING_PORT
        page = await forward.get(self.client, self.system_namespace, pod, port=port, path=path)
        if page.status != 200:
            text = page.body[:200].decode(errors="replace").strip()
            raise RequestError(f"{pod}{path} answered {page.status}: {text}")
        return page.body

    async def _asked_statuses(self) -> list[Json]:
        pages = await self.all_pages(CONFIG_PUSH, "/debug/syncz")
        rows: dict[str, list[Json]] = {name: json.loads(body) for name, body in pages.items()}
        connected: merging.Connected = {}
        if merging.repeated(rows):
            found = await self.all_pages(CONFIG_PUSH, "/debug/connections")
            connected = merging.connections({name: json.loads(it) for name, it in found.items()})
        return merging.statuses(rows, connected)

    async def _watch(self, ref: str, show: Callable[[Receipt], None]) -> None:
        async def replicas() -> list[str]:
            try:
                found = await self.pods(CONFIG_PUSH)
            except (KubeError, Misused):
                return []  # they are asked for again
            return [pod.name for pod in found if pod.phase == "Running"]

        pages = await self.all_pages(CONFIG_PUSH, f"/debug/receipts?ref={quote(ref)}")
        now = merging.by_change(json.loads(body) for _, body in sorted(pages.items()))
        following = Following(
            self.client, self.system_namespace, ref, port=MONITORING_PORT, show=show
        )
        await following.run(replicas, [key for key, one in now.items() if one.settled])

    def _problems(self, path: str) -> list[Problem]:
        body = self.run(self.page_of_any(DISCOVERY, path))
        return [ParseDict(it, Problem(), ignore_unknown_fields=True) for it in json.loads(body)]

    async def _execute(self, proxy: str, command: Sequence[str]) -> int:
        pod, namespace = _split(proxy)
        try:
            found: Any = await self.client.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
        except NotFoundError as error:
            raise RequestError(f"there is no pod {pod} in namespace {namespace}") from error
        container = _container(found)
        return await execute(
            self.client, namespace, pod, container=container, command=command, out=_write
        )


def _write(channel: int, data: bytes) -> None:
    stream = sys.stderr if channel == STDERR else sys.stdout
    stream.buffer.write(data)
    stream.flush()


def _split(proxy: str) -> tuple[str, str]:
    pod, _, namespace = proxy.rpartition(".")
    if not pod:
        raise RequestError(f"no proxy {proxy!r} is connected: say POD.NAMESPACE")
    return pod, namespace


def _container(pod: Json) -> str:
    """Return the pod's own container: the one that it says is meant, or the first."""
    named = (pod["metadata"].get("annotations") or {}).get(_DEFAULT_CONTAINER)
    names = [str(it["name"]) for it in pod["spec"]["containers"]]
    if named in names:
        return str(named)
    return next((name for name in names if name != _PROXY), names[0])


def _pod(raw: Json) -> Pod:
    status = raw.get("status") or {}
    conditions = {it["type"]: it["status"] for it in status.get("conditions") or ()}
    name, phase = raw["metadata"]["name"], status.get("phase", "Unknown")
    return Pod(name, phase, conditions.get("Ready") == "True", _revision(raw))


def _is_of(raw: Json, service: str) -> bool:
    named = revisions.named(service, _revision(raw))
    return bool(raw["metadata"]["labels"][LABEL] == named)


def _revision(raw: Json) -> str:
    labels = raw["metadata"].get("labels") or {}
    return str(labels.get(_REVISION) or revisions.DEFAULT)


def _default_first(pod: Pod) -> tuple[bool, str, str]:
    return not revisions.is_default(pod.revision), pod.revision, pod.name


def _has_ended(raw: Json) -> bool:
    phase = (raw.get("status") or {}).get("phase")
    return phase in {"Succeeded", "Failed"} or "deletionTimestamp" in raw["metadata"]
