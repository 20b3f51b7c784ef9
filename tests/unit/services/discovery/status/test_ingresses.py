"""Who writes the addresses of Ingresses, when, and what is taken back."""

from typing import Any, cast

import msgspec
from prometheus_client import REGISTRY

from libs.api.registry import KINDS
from libs.kube.client import Client
from libs.kube.errors import ConflictError, UnreachableError
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.runtime.tasks import background
from services.discovery.status.disputes import BACKOFF, QUIET_SECONDS
from services.discovery.status.ingresses import IngressStatuses
from services.discovery.status.sending import MANAGER
from tests.support.clock import VirtualClock
from tests.support.resources import translated

KIND = next(it for it in KINDS if it.name == "Ingress")
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {0}, namespace: shop, annotations: {{kubernetes.io/ingress.class: {1}}}}}
spec: {{rules: []}}
---
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: istio-ingressgateway, namespace: istio-system}}
spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}
status: {{loadBalancer: {{ingress: [{{ip: {0}}}]}}}}
---
"""
THEIRS = ({"ip": "203.0.113.1"},)


class Server:
    """Takes applied statuses in, and tells them like a watch; `faults` are raised first."""

    def __init__(self, revision: str = "default", *, faults: list[Exception] | None = None) -> None:
        self.clock = VirtualClock()
        self.statuses = IngressStatuses(
            cast("Client", self), self.clock, lambda: None, revision=revision
        )
        self.manager = MANAGER if revision == "default" else f"{MANAGER}-{revision}"
        self.faults = faults or []
        self.revisions: dict[str, str] = {}
        self.written: list[tuple[str, list[str]]] = []
        self.rival = False
        """Whether somebody else writes his own whenever we have written ours."""

    def has(self, name: str, *, entries: Any = (), owned: bool = False, revision: str = "") -> None:  # noqa: ANN401
        if revision:
            self.revisions[name] = revision
        fields: dict[str, Any] = {"f:status": {"f:loadBalancer": {"f:ingress": {}}}}
        entry = {"manager": self.manager, "subresource": "status", "fieldsV1": fields}
        metadata = {
            "resourceVersion": str(len(self.written)),
            "labels": {"istio.io/rev": self.revisions[name]} if name in self.revisions else {},
            "managedFields": [entry] if owned else [],
        }
        status = {"loadBalancer": {"ingress": entries} if entries else {}}
        raw = msgspec.Raw(msgspec.json.encode({"metadata": metadata, "status": status}))
        self.statuses.take(KIND, [Change(Name("shop", name), raw)])

    def gone(self, name: str) -> None:
        self.statuses.take(KIND, [Change(Name("shop", name), None)])

    def publish(self, *, address: str = "192.0.2.1", **classes: str) -> None:
        text = SERVICE.format(address)
        text += "".join(INGRESS.format(name, its) for name, its in classes.items())
        self.statuses.publish(translated(text).state)

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Any,  # noqa: ANN401
        params: dict[str, str],
        **_: object,
    ) -> None:
        assert (method, params) == ("PATCH", {"fieldManager": self.manager, "force": "true"})
        if self.faults:
            raise self.faults.pop(0)
        name = path.split("/")[-2]
        entries = body["status"].get("loadBalancer", {}).get("ingress", [])
        self.written.append((name, [it.get("ip") or it["hostname"] for it in entries]))
        self.has(name, entries=entries, owned=bool(entries))
        if self.rival:
            self.has(name, entries=THEIRS)

    async def settle(self, seconds: float = 120.0) -> list[tuple[str, list[str]]]:
        self.written.clear()
        await self.clock.advance(seconds)
        return list(self.written)


async def test_ours_get_addresses_once_and_others_keep_theirs() -> None:
    server = Server()
    server.has("web")
    server.has("other", entries=THEIRS)
    server.publish(web="istio", other="nginx")
    async with background(server.statuses.run()):
        assert await server.settle() == [("web", ["192.0.2.1"])]
        server.publish(web="istio", other="nginx")
        assert await server.settle() == []
        server.publish(web="istio", other="nginx", address="192.0.2.2")
        assert await server.settle() == [("web", ["192.0.2.2"])]


async def test_what_is_not_ours_any_more_loses_our_addresses() -> None:
    server = Server()
    server.has("web")
    server.publish(web="istio")
    async with background(server.statuses.run()):
        assert await server.settle() == [("web", ["192.0.2.1"])]
        server.publish(web="nginx")
        assert await server.settle() == [("web", [])]
        server.has("web", entries=THEIRS)
        assert await server.settle() == []


async def test_a_new_leader_takes_back_what_one_before_has_written() -> None:
    server = Server()
    server.has("web", entries=THEIRS, owned=True)
    async with background(server.statuses.run()):
        assert await server.settle() == []  # nothing is known yet
        server.publish(web="nginx")
        assert await server.settle() == [("web", [])]


async def test_addresses_that_somebody_else_spoils_are_mended() -> None:
    server = Server()
    server.has("web")
    server.publish(web="istio")
    async with background(server.statuses.run()):
        await server.settle()
        server.has("web", entries=THEIRS)
        assert await server.settle() == [("web", ["192.0.2.1"])]


async def test_who_writes_otherwise_again_and_again_is_answered_ever_more_seldom() -> None:
    server = Server()
    server.has("web")
    server.has("other")
    server.publish(web="istio", other="nginx")
    async with background(server.statuses.run()):
        server.rival = True
        first = len(await server.settle(600.0))
        assert 3 <= first <= 12
        assert 600.0 / BACKOFF.limit <= len(await server.settle(600.0)) <= 600.0 / BACKOFF.limit * 2
        assert _disputes() == 1
        server.publish(web="istio", other="istio")  # others are not made to wait
        server.rival = False
        assert ("other", ["192.0.2.1"]) in await server.settle(1.0)
        await server.settle(BACKOFF.limit + 1.0)
        assert _disputes() == 1
        assert await server.settle(2 * BACKOFF.limit + QUIET_SECONDS) == []
        assert _disputes() == 0


def _disputes() -> float | None:
    return REGISTRY.get_sample_value("seine_discovery_status_disputes", {"what": "addresses"})


async def test_each_ingress_has_its_status_from_one_revision() -> None:
    for revision, expected in (("default", ["all"]), ("canary", ["mine"])):
        server = Server(revision)
        server.has("all")
        server.has("mine", revision="canary")
        server.publish(all="istio", mine="istio")
        async with background(server.statuses.run()):
            assert [name for name, _ in await server.settle()] == expected


async def test_a_write_that_fails_is_made_again_and_one_that_is_outdated_is_not() -> None:
    server = Server(faults=[UnreachableError("away")])
    server.has("web")
    server.publish(web="istio")
    async with background(server.statuses.run()):
        assert await server.settle() == [("web", ["192.0.2.1"])]
    outdated = Server(faults=[ConflictError(409, "Conflict", "is another one now")])
    outdated.has("web")
    outdated.publish(web="istio")
    async with background(outdated.statuses.run()):
        assert await outdated.settle() == []
        outdated.has("web")
        assert await outdated.settle() == [("web", ["192.0.2.1"])]


async def test_what_has_gone_and_what_cannot_be_read_is_left_alone() -> None:
    server = Server()
    server.has("web")
    server.gone("web")
    server.statuses.take(KIND, [Change(Name("shop", "odd"), msgspec.Raw(b'{"status": 3}'))])
    server.publish(web="istio", odd="istio")
    async with background(server.statuses.run()):
        assert await server.settle() == []
