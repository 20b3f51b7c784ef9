"""Manifests: what local mode itself reads of the user's folder, being the kubelet of the machine.

Only Pods (what to run) and Services (what gets an address) matter here. Everything that a mesh
makes of a manifest, and everything that is wrong with one, is discovery's business: a document that
cannot be understood is passed over in silence here, because discovery tells the user about it.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Struct, structs

from libs.api import documents
from services.local import proxies

SUFFIXES = (".yaml", ".yml", ".json")
MAX_FILE_BYTES = 16 * 1024 * 1024
INJECT = "sidecar.istio.io/inject"
NAMESPACE_INJECT = "istio-injection"
T = TypeVar("T", bound=Struct)
Stamp = frozenset[tuple[str, int, int]]
NOTHING: Stamp = frozenset()


class _Metadata(Struct, frozen=True):
    name: str
    namespace: str = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _FieldRef(Struct, frozen=True, rename="camel"):
    field_path: str = ""


class _ValueFrom(Struct, frozen=True, rename="camel"):
    field_ref: _FieldRef | None = None


class _Variable(Struct, frozen=True, rename="camel"):
    name: str
    value: str = ""
    value_from: _ValueFrom | None = None


class _ContainerPort(Struct, frozen=True, rename="camel"):
    container_port: int
    name: str = ""


class _Container(Struct, frozen=True):
    name: str
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[_Variable, ...] = ()
    ports: tuple[_ContainerPort, ...] = ()


class _PodSpec(Struct, frozen=True, rename="camel"):
    containers: tuple[_Container, ...]
    service_account_name: str = "default"


class _Pod(Struct, frozen=True):
    metadata: _Metadata
    spec: _PodSpec


class _ServicePort(Struct, frozen=True, rename="camel"):
    port: int
    name: str = ""
    target_port: int | str = 0


class _ServiceSpec(Struct, frozen=True, rename="camel"):
    selector: dict[str, str] = {}
    ports: tuple[_ServicePort, ...] = ()
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    type: str = "ClusterIP"


class _Service(Struct, frozen=True):
    metadata: _Metadata
    spec: _ServiceSpec = _ServiceSpec()


class _Namespace(Struct, frozen=True):
    metadata: _Metadata


class Pod(Struct, frozen=True, kw_only=True):
    """A workload to run. `environment` has the values of fields that are known beforehand."""

    name: str
    namespace: str
    labels: Mapping[str, str]
    service_account: str
    command: Sequence[str]
    environment: Mapping[str, str]
    fields: Mapping[str, str]  # variable → field path, such as status.podIP
    ports: Mapping[str, int]  # named container ports
    listens: Sequence[int]  # every container port
    sidecar: bool
    proxy: Mapping[str, Any]  # the settings of its sidecar that somebody wrote
    raw: documents.Raw

    @property
    def key(self) -> str:
        """`<name>.<namespace>`, as proxies are named everywhere."""
        return f"{self.name}.{self.namespace}"

    def runs_like(self, other: "Pod") -> bool:
        """Tell whether the same processes run for both.

        Labels may differ, as in Kubernetes, and so may settings of proxies, which are read when
        they start.
        """
        return self == structs.replace(other, labels=self.labels, proxy=self.proxy, raw=self.raw)


class Service(Struct, frozen=True, kw_only=True):
    """A name for some of the pods."""

    name: str
    namespace: str
    selector: Mapping[str, str]
    ports: Sequence[tuple[str, int, int | str]]  # name, number, target
    cluster_ip: str  # as written: mostly empty, "None" if headless
    raw: documents.Raw

    @property
    def key(self) -> str:
        """`<name>.<namespace>`."""
        return f"{self.name}.{self.namespace}"

    @property
    def names(self) -> tuple[str, ...]:
        """What clients of its own namespace may call it."""
        qualified = self.key
        return (self.name, qualified, f"{qualified}.svc", f"{qualified}.svc.cluster.local")

    def selects(self, pod: Pod) -> bool:
        """Tell whether a pod is one of the service's."""
        return (
            bool(self.selector)
            and self.namespace == pod.namespace
            and self.selector.items() <= pod.labels.items()
        )


class Application(Struct, frozen=True):
    """Everything to run, in the order of the files and their documents."""

    pods: tuple[Pod, ...] = ()
    services: tuple[Service, ...] = ()
    whole: bool = True  # every document could be understood

    def over(self, before: "Application") -> "Application":
        """Return this, with what was there `before` if a bad document may have been hiding it."""
        if self.whole:
            return self
        pods = {pod.key for pod in self.pods}
        services = {service.key for service in self.services}
        return Application(
            (*self.pods, *(pod for pod in before.pods if pod.key not in pods)),
            (*self.services, *(it for it in before.services if it.key not in services)),
            whole=False,
        )

    def app_of(self, instance: str) -> str:
        """Return the application of a pod, by its label; the name itself if it is unknown."""
        return next(
            (pod.labels.get("app", pod.name) for pod in self.pods if pod.name == instance), instance
        )


def files(folder: Path) -> list[Path]:
    """Return the manifest files below a folder, sorted."""
    found = (path for path in folder.rglob("*") if path.suffix in SUFFIXES and path.is_file())
    return sorted(found)


def stamp(folder: Path) -> Stamp:
    """Return what changes whenever a manifest file does: cheap to ask for often."""
    found = set()
    for path in files(folder):
        with contextlib.suppress(OSError):
            status = path.stat()
            found.add((str(path), status.st_mtime_ns, status.st_size))
    return frozenset(found)


def read(folder: Path) -> Application:
    """Return what is to be run of a folder of manifests. Of two of one name the first counts."""
    faults: list[str] = []
    raws = list(_raws(folder, faults))
    injected = {
        found.metadata.name
        for _, found in _of_kind(raws, "Namespace", _Namespace, faults=faults)
        if found.metadata.labels.get(NAMESPACE_INJECT) == "enabled"
    }
    written = proxies.read(raws)
    pods = {pod.key: pod for pod in reversed([*_pods(raws, injected, written, faults=faults)])}
    services = {service.key: service for service in reversed([*_services(raws, faults)])}
    return Application(
        tuple(reversed(pods.values())), tuple(reversed(services.values())), whole=not faults
    )


def _pods(
    raws: Sequence[documents.Raw],
    injected: set[str],
    written: proxies.Written,
    *,
    faults: list[str],
) -> Iterator[Pod]:
    for raw, found in _of_kind(raws, "Pod", _Pod, faults=faults):
        container = found.spec.containers[0] if found.spec.containers else None
        if container is None or not container.command:
            continue  # without a command there is nothing that could be run here
        variables = container.env
        labels = found.metadata.labels
        wanted = labels.get(INJECT, "true" if found.metadata.namespace in injected else "false")
        yield Pod(
            name=found.metadata.name,
            namespace=found.metadata.namespace,
            labels=labels,
            service_account=found.spec.service_account_name,
            command=(*container.command, *container.args),
            environment={item.name: item.value for item in variables if not item.value_from},
            fields={
                item.name: item.value_from.field_ref.field_path
                for item in variables
                if item.value_from and item.value_from.field_ref
            },
            ports={port.name: port.container_port for port in container.ports if port.name},
            listens=tuple(port.container_port for port in container.ports),
            sidecar=wanted == "true",
            proxy=written.of(found.metadata.namespace, labels, found.metadata.annotations),
            raw=raw,
        )


def _services(raws: Sequence[documents.Raw], faults: list[str]) -> Iterator[Service]:
    for raw, found in _of_kind(raws, "Service", _Service, faults=faults):
        if found.spec.type == "ExternalName":
            continue
        yield Service(
            name=found.metadata.name,
            namespace=found.metadata.namespace,
            selector=found.spec.selector,
            ports=tuple(
                (port.name, port.port, port.target_port or port.port) for port in found.spec.ports
            ),
            cluster_ip=found.spec.cluster_ip,
            raw=raw,
        )


def _of_kind(
    raws: Sequence[documents.Raw], kind: str, wanted: type[T], *, faults: list[str]
) -> Iterator[tuple[documents.Raw, T]]:
    for raw in raws:
        if raw.get("kind") != kind or raw.get("apiVersion") != "v1":
            continue
        try:
            converted = msgspec.convert(raw, wanted)
        except msgspec.ValidationError as error:
            faults.append(str(error))
            continue
        yield raw, converted


def _raws(folder: Path, faults: list[str]) -> Iterator[documents.Raw]:
    for path in files(folder):
        try:
            with path.open("rb") as file:
                text = file.read(MAX_FILE_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            faults.append(str(error))
            continue
        for document in documents.read(text, str(path)):
            if document.raw is None or document.problems:
                faults.append(document.file)
            else:
                yield document.raw
