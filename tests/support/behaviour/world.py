"""The world: the mesh in which every table stands, and the configuration of its proxies.

All addresses are of one block of loopback addresses, `127.110.*` in manifests. Each run takes a
free block and writes its addresses instead, so that several runs on a machine do not meet.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from msgspec import Struct

from libs.api.check import check
from libs.api.resource import Resource
from libs.api.secret import Secret
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.proxy.node import Proxy
from libs.translate.apply import Upsert, apply, initial
from services.ctl import render
from tests.support.behaviour.tables import Feature, Table

MANIFESTS = Path(__file__).parent / "world.yaml"
PROXIES = {
    "client": "client.shop",
    "guest": "guest.other",
    "web-v1": "web-v1.shop",
    "web-v2": "web-v2.shop",
    "gateway": "gateway.edge",
}
"""The workloads that have an Envoy, with the names of their pods."""

ACCOUNTS = {"web-v1": "web", "web-v2": "web"}  # others have their own name's
NUMBERS = {"web-v1": 11, "web-v2": 12, "books": 13, "client": 21, "guest": 22, "gateway": 31}
"""The last numbers of the workloads' addresses."""

WRITTEN = "127.110."
PROXY_PORT = 15080  # where sidecars take requests for any host and port, as an HTTP proxy
PORTS = (8080, 8081, 8443, 9000, 9001, 9100)
_REHEARSED = "istio_dry_run_deny_shadow_effective_policy_id"
LOG = {
    "port": "%DOWNSTREAM_REMOTE_PORT%",
    "row": "%REQ(X-ROW)%",
    "flags": "%RESPONSE_FLAGS%",
    "code": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "route": "%ROUTE_NAME%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "upstream": "%UPSTREAM_HOST%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%",
    "server_name": "%REQUESTED_SERVER_NAME%",
    "path": "%REQ(:PATH)%",
    "protocol": "%PROTOCOL%",
    "rehearsed": f"%DYNAMIC_METADATA(envoy.filters.http.rbac:{_REHEARSED})%",
}
"""What Envoys log of each request, by the name that rows use."""

_FIRST_BLOCK, _BLOCKS = 110, 100


class Built(NamedTuple):
    """What manifests come to."""

    mesh: Mesh
    secrets: list[Secret]
    reasons: list[str]  # of problems


class Place(Struct, frozen=True, dict=True):
    """Where a run stands: its addresses, and the texts that manifests leave open."""

    block: str  # `127.<number>.`
    words: Mapping[str, str] = {}  # written `@<word>@`

    def address(self, workload: str, kind: int = 1) -> str:
        """Return a workload's address: 1 its pod's, 2 its application's, 3 its sidecar's own."""
        return f"{self.block}{kind}.{NUMBERS[workload]}"

    def local(self, text: str) -> str:
        """Return a text with this run's addresses and words."""
        text = text.replace(WRITTEN, self.block)
        for word, meaning in self.words.items():
            text = text.replace(f"@{word}@", meaning)
        return text

    @cached_property
    def _standing(self) -> list[Resource]:
        return _read(self.local(MANIFESTS.read_text()))[0]

    def build(self, feature: Feature, table: Table) -> Built:
        """Return what the manifests of a table make of the world."""
        own: dict[str, Resource] = {}
        reasons: list[str] = []
        for text in (_mesh_config(feature, table), feature.given, table.given):
            resources, found = _read(self.local(text))
            own |= {resource.ref: resource for resource in resources}
            reasons += found
        resources = [one for one in self._standing if one.ref not in own] + list(own.values())
        every = [*resources, *render.slices(resources)]
        step = apply(initial(MeshSettings()), [Upsert(resource, 1.0) for resource in every])
        reasons += (problem.reason for problem in step.problems)
        secrets = [one for one in resources if isinstance(one, Secret)]
        return Built(step.state.mesh, secrets, sorted(set(reasons)))

    def proxy(self, workload: str, mesh: Mesh) -> Proxy:
        """Return a workload's proxy, as its node describes it."""
        metadata = {
            "INTERCEPTION_MODE": "NONE",
            "SEINE_OUTBOUND_ADDRESS": self.address(workload, 3),
            "SEINE_APPLICATION_ADDRESS": self.address(workload, 2),
            "HTTP_PROXY_PORT": str(PROXY_PORT),
            "CLUSTER_ID": "Kubernetes",
        }
        gateway = workload == "gateway"
        return render.find(mesh, PROXIES[workload], {} if gateway else metadata)


def _read(text: str) -> tuple[list[Resource], list[str]]:
    found = check(text, "given.yaml")
    errors = [error for finding in found for error in finding.errors]
    reasons = [problem.reason for finding in found for problem in finding.warnings]
    resources = [finding.resource for finding in found if finding.resource is not None]
    return resources, [*reasons, *(error.reason for error in errors)]


def _mesh_config(feature: Feature, table: Table) -> str:
    config: dict[str, Any] = {
        "accessLogFile": "/dev/stdout",
        "accessLogEncoding": "JSON",
        "accessLogFormat": json.dumps(LOG),
        **feature.mesh,
        **table.mesh,
    }
    metadata = {"name": "istio", "namespace": "istio-system"}
    data = {"mesh": yaml.safe_dump(config)}
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    )


@contextmanager
def free_block() -> Iterator[str]:
    """Hold a block of loopback addresses that no other run has."""
    for number in range(_FIRST_BLOCK, _FIRST_BLOCK + _BLOCKS):
        with socket.socket() as lock:
            try:
                lock.bind((f"127.{number}.0.1", 8080))
            except OSError:
                continue
            yield f"127.{number}."
            return
    message = "no block of loopback addresses is free"
    raise OSError(message)
