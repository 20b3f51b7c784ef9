"""Discovery on a real API server: memory by object, seconds to sync, milliseconds to the feed.

etcd, the API server, discovery and this client are processes of their own on one machine. Pods have
what real ones have: two containers, probes, volumes, managed fields. Nothing is asserted.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

from msgspec import Struct

from libs.kube.client import Client
from libs.protos.feed.v1 import feed_pb2_grpc
from libs.runtime.tasks import background
from tests.support import kube_accounts as kube
from tests.support.control_plane_apps import SYSTEM, Apps, running_apps
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_discovery import Subscriber, until_ready_says
from tests.support.kubeconfig import write_kubeconfig
from tests.support.ports import free_ports

AT_ONCE = 48
MERGE = "application/merge-patch+json"
SHOP = "shop"
PODS = f"/api/v1/namespaces/{SHOP}/pods"
SERVICES = f"/api/v1/namespaces/{SHOP}/services"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{SHOP}/endpointslices"


class Options(Struct, frozen=True):
    """What is measured."""

    services: int
    pods: int
    patches: int


class Ports(Struct, frozen=True):
    """Of a discovery that runs; as `services.discovery.app.Bound`."""

    monitoring: int


class Running(Struct, frozen=True):
    """A discovery in a process of its own."""

    process: int
    seconds: float  # from its start until it was ready

    @property
    def megabytes(self) -> float:
        status = Path(f"/proc/{self.process}/status").read_text()
        line = next(it for it in status.splitlines() if it.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    @property
    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def discovery(apps: Apps, server: ApiServer) -> AsyncIterator[Running]:
    """Run discovery until the block ends; it starts when discovery is ready."""
    config = write_kubeconfig(server, apps.folder / "kubeconfig")
    (monitoring,) = free_ports(1)
    environment = {
        "SEINE_KUBECONFIG": str(config),
        "SEINE_PORT": str(apps._discovery_port),
        "SEINE_MONITORING_PORT": str(monitoring),
        "SEINE_CA_ADDRESS": f"127.0.0.1:{apps.ca.token}",
        "SEINE_CA_ROOT_FILE": str(apps.folder / "root.pem"),
        "SEINE_TOKEN_FILE": str(apps.token_file("seine-discovery")),
        "SEINE_LOG_LEVEL": "warning",
    }
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.discovery"),
        env={**os.environ, **environment},  # noqa: TID251  # its own, and more
    )
    try:
        await _ready(monitoring)
        yield Running(process.pid, time.monotonic() - started)
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def _ready(port: int) -> None:
    async with asyncio.timeout(300):
        while True:
            try:
                await until_ready_says(Ports(port), 200, seconds=300)  # type: ignore[arg-type]
            except OSError:
                await asyncio.sleep(0.02)
            else:
                return


# What is in the cluster.


def _service(number: int) -> dict[str, Any]:
    ports = [
        {"name": "http", "port": 80, "targetPort": "http"},
        {"name": "grpc", "port": 90, "targetPort": 9090},
    ]
    spec = {"selector": {"app": f"s{number}"}, "ports": ports}
    metadata = {"name": f"s{number}", "labels": {"app": f"s{number}", "team": "a"}}
    return {"metadata": metadata, "spec": spec}


def _pod(number: int, services: int) -> dict[str, Any]:
    app = f"s{number % services}"
    probe = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 10}
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}}
    container = {
        "image": f"registry.example/{app}:1.2.3",
        "resources": resources,
        "env": [{"name": f"VARIABLE_{index}", "value": "some value"} for index in range(8)],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}],
    }
    web = {
        **container,
        "name": "app",
        "ports": [{"name": "http", "containerPort": 8080}],
        "readinessProbe": probe,
        "livenessProbe": probe,
    }
    spec = {
        "containers": [web, {**container, "name": "istio-proxy"}],
        "serviceAccountName": app,
        "nodeName": f"n{number % 50}",
        "volumes": [{"name": "config", "emptyDir": {}}],
    }
    labels = {
        "app": app,
        "version": "v1",
        "pod-template-hash": f"5d4f8b{number % services}",
        "security.istio.io/tlsMode": "istio",
        "service.istio.io/canonical-name": app,
    }
    annotations = {"prometheus.io/scrape": "true", "kubectl.kubernetes.io/restartedAt": "x" * 40}
    metadata = {"name": f"{app}-{number}", "labels": labels, "annotations": annotations}
    return {"metadata": metadata, "spec": spec}


def _address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _status(number: int) -> dict[str, Any]:
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    conditions = [{"type": kind, "status": "True"} for kind in kinds]
    address = _address(number)
    return {
        "status": {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": conditions,
        }
    }


def _slice(number: int, options: Options) -> dict[str, Any]:
    app = f"s{number}"
    members = range(number, options.pods, options.services)
    endpoints = [
        {
            "addresses": [_address(member)],
            "conditions": {"ready": True, "serving": True, "terminating": False},
            "nodeName": f"n{member % 50}",
            "targetRef": {"kind": "Pod", "namespace": SHOP, "name": f"{app}-{member}"},
        }
        for member in members
    ]
    ports = [{"name": "http", "port": 8080}, {"name": "grpc", "port": 9090}]
    metadata = {"name": app, "labels": {"kubernetes.io/service-name": app}}
    return {
        "metadata": metadata,
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": ports,
    }


async def _all(work: Iterator[Any]) -> float:
    """Do some at a time; return how many seconds that took."""
    started = time.monotonic()

    async def worker() -> None:
        for one in work:
            await one

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(worker())
    return time.monotonic() - started


async def _make_pod(client: Client, number: int, services: int) -> None:
    pod = _pod(number, services)
    await client.request("POST", PODS, body=pod)
    path = f"{PODS}/{pod['metadata']['name']}/status"
    await client.request("PATCH", path, body=_status(number), content_type=MERGE)


# What is measured.


async def measure(options: Options, folder: Path) -> None:
    """Print all figures."""
    cluster = folder / "kubernetes"
    cluster.mkdir()
    with running(cluster) as server:
        async with running_apps(folder) as apps, kube.client_of(server, folder) as client:
            await kube.namespace(client, SHOP)
            base = await _size("an empty cluster", apps, server)
            work = (
                client.request("POST", SERVICES, body=_service(number))
                for number in range(options.services)
            )
            seconds = await _all(work)
            print(f"  {options.services} Services made in {seconds:.1f} s", flush=True)
            services = await _size(f"{options.services} Services", apps, server)
            made = (_make_pod(client, number, options.services) for number in range(options.pods))
            seconds = await _all(made)
            print(f"  {options.pods} Pods made in {seconds:.1f} s", flush=True)
            pods = await _size(f"and {options.pods} Pods", apps, server)
            slices = (
                client.request("POST", SLICES, body=_slice(number, options))
                for number in range(options.services)
            )
            await _all(slices)
            whole = await _size("and their EndpointSlices", apps, server)
            per = 1024 / max(options.services, 1), 1024 / max(options.pods, 1)
            print(
                f"  a Service {(services - base) * per[0]:.1f} KB, a Pod "
                f"{(pods - services) * per[1]:.1f} KB, an endpoint {(whole - pods) * per[1]:.1f} KB"
            )
            await _latency(options, apps, server, client=client)


async def _size(what: str, apps: Apps, server: ApiServer) -> float:
    async with discovery(apps, server) as found:
        print(
            f"  {what}: ready after {found.seconds:.2f} s, {found.cpu:.2f} s of CPU, "
            f"{found.megabytes:.0f} MB resident",
            flush=True,
        )
        return found.megabytes


async def _latency(options: Options, apps: Apps, server: ApiServer, *, client: Client) -> None:
    subscriber = Subscriber()
    async with (
        discovery(apps, server) as found,
        apps.to_discovery("seine-config-push", SYSTEM) as opened,
        background(subscriber.follow_mesh(feed_pb2_grpc.MeshFeedStub(opened))),
    ):
        await subscriber.until(lambda: subscriber.mesh.endpoints, seconds=60)
        cpu = found.cpu
        whole, answered = [], []
        for number in range(options.patches):
            sent, told, heard = await _patch(subscriber, client, number)
            whole.append(1000 * (heard - sent))
            answered.append(1000 * (heard - told))
        cpu = 1000 * (found.cpu - cpu) / options.patches
    for name, figures in (("sent", whole), ("answered", answered)):
        cut = quantiles(figures, n=100)
        print(f"  from the PATCH {name} to the feed: p50 {cut[49]:.1f} ms, p99 {cut[98]:.1f} ms")
    print(f"  CPU of discovery for each: {cpu:.1f} ms")


async def _patch(subscriber: Subscriber, client: Client, number: int) -> tuple[float, float, float]:
    """Change an endpoint's address; return when it was sent, answered, and heard of."""
    app = f"s{number % 100}"
    address = f"192.168.{number >> 8}.{number & 255}"
    endpoint = {"addresses": [address], "conditions": {"ready": True}}
    key = f"{SHOP}/{app}.{SHOP}.svc.cluster.local"

    async def ask() -> float:
        body = {"endpoints": [endpoint]}
        await client.request("PATCH", f"{SLICES}/{app}", body=body, content_type=MERGE)
        return time.monotonic()

    def has_come() -> bool:
        found = subscriber.mesh.endpoints.get(key)
        return bool(found) and any(it.address == address for it in found.endpoints)

    sent = time.monotonic()
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(ask())
        await subscriber.until(has_come)
        heard = time.monotonic()
    return sent, asking.result(), heard


def main() -> None:
    """Measure what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--patches", type=int, default=200)
    found = parser.parse_args()
    options = Options(found.services, found.pods, found.patches)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(options, Path(folder)))


if __name__ == "__main__":
    main()
