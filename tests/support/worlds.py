"""Worlds: resources of every kind that change at random, made of the manifests of tests/golden.

A pool holds each resource in all the variants that the manifests and their kin here have. What one
change does is drawn from a seeded generator: another variant, a pod that moves or is relabelled or
fails, a copy in another namespace, another age, a resource that goes, and objects that cannot be
read, of which the last good state stays.
"""

import copy
import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from libs.api import documents
from libs.api.check import check_raw
from libs.api.identity import identify
from libs.api.resource import Resource
from libs.model.ids import Ref
from tests.golden import cases

Raw = dict[str, Any]
SOME = 110
"""With more resources than that anything may go, with fewer only what others depend on."""

_NAMESPACES = ("shop", "other", "edge", "istio-system")
_LABELS = {
    "app": ("web", "api", "client", "gw"),
    "version": ("v1", "v2"),
    "istio": ("ingressgateway", "egress"),
    "security.istio.io/tlsMode": ("istio", "disabled"),
}
_FURTHER = """
apiVersion: v1
kind: Namespace
metadata: {name: istio-system, labels: {topology.istio.io/network: n1}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio-injection: enabled}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: web, namespace: shop}}
---
{apiVersion: v1, kind: Secret, metadata: {name: first, namespace: edge}, type: Opaque, data: {}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: other}
spec: {egress: [{hosts: ["./*", "shop/web.shop.svc.cluster.local"]}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec:
  egress:
  - {port: {number: 8080, protocol: HTTP, name: http}, hosts: ["./*"]}
  - {hosts: ["*/*"]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: everything, namespace: shop}
spec:
  hosts: ["*.shop.svc.cluster.local"]
  http: [{route: [{destination: {host: web, subset: v1}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: other}
spec:
  hosts: [web.shop.svc.cluster.local]
  exportTo: ["."]
  http:
  - match: [{sourceLabels: {app: client}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 1}}}
    route: [{destination: {host: web.shop.svc.cluster.local}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: shop}
spec:
  host: web
  exportTo: [other]
  trafficPolicy:
    loadBalancer:
      localityLbSetting: {enabled: true, failoverPriority: [topology.istio.io/network]}
    outlierDetection: {consecutive5xxErrors: 3}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny, namespace: istio-system}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [other]}}]}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: machine, namespace: shop}
spec: {address: 10.20.0.7, labels: {app: web, version: v2}, serviceAccount: web}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: machines, namespace: shop}
spec:
  hosts: [machines.example.com]
  resolution: STATIC
  location: MESH_INTERNAL
  workloadSelector: {labels: {app: web}}
  ports: [{number: 8080, name: http, protocol: HTTP}]
---
apiVersion: v1
kind: Service
metadata: {name: pods, namespace: shop}
spec: {clusterIP: None, selector: {app: client}, ports: [{name: tcp, port: 5432}]}
---
apiVersion: v1
kind: Service
metadata: {name: hidden, namespace: other, annotations: {networking.istio.io/exportTo: "."}}
spec: {clusterIP: 10.96.7.7, selector: {app: client}, ports: [{name: http, port: 80}]}
"""


def pool() -> Mapping[Ref, list[Raw]]:
    """Return all variants of all resources."""
    found: dict[Ref, list[Raw]] = defaultdict(list)
    texts = [text for case in cases.every() for text in case.manifests.values()]
    for text in (*texts, _FURTHER):
        for document in documents.read(text, "in.yaml"):
            assert document.raw is not None, document.problems
            found[document.ref].append(dict(document.raw))
    return found


class World:
    """What is there, as the manifests of an API server say it, changing step by step."""

    def __init__(self, variants: Mapping[Ref, list[Raw]], seed: int) -> None:
        self._variants = variants
        self._refs = sorted(variants)
        self.chance = random.Random(seed)  # noqa: S311 - the same walk every time
        self.raw: dict[Ref, Raw] = {}
        self.said: list[str] = []  # what was done, for whoever reads a failure

    def change(self) -> tuple[Ref, Resource | None]:
        """Make one change, and return what has become of which resource."""
        while True:
            name, make = self.chance.choices(_MOVES, weights=_WEIGHTS)[0]
            made = make(self)
            if made is None:
                continue
            ref, raw = made
            if raw is None:
                del self.raw[ref]
                self.said.append(f"{name} {ref}")
                return ref, None
            resource, _ = check_raw(raw)
            self.said.append(f"{name} {ref}" + ("" if resource else ": cannot be read"))
            if resource is not None:
                self.raw[ref] = raw
                return ref, resource

    def begin(self, count: int) -> list[tuple[Ref, Resource | None]]:
        """Put `count` resources there, or variants of them."""
        made = [check_raw(raw)[0] for raw in self._some(count)]
        return [(one.ref, one) for one in made if one is not None]

    def _some(self, count: int) -> Iterable[Raw]:
        for _ in range(count):
            ref, self.raw[ref] = self.drawn()
            yield self.raw[ref]

    def present(self, *kinds: str) -> Ref | None:
        """Return the reference of something that is there, of certain kinds or any."""
        found = [ref for ref in sorted(self.raw) if not kinds or ref.startswith(kinds)]
        return self.chance.choice(found) if found else None

    def resources(self) -> list[Resource]:
        """Return everything, read anew."""
        found = (check_raw(copy.deepcopy(raw))[0] for raw in self.raw.values())
        return [resource for resource in found if resource is not None]

    def drawn(self) -> tuple[Ref, Raw]:
        """Return a variant of anything, there or not."""
        ref = self.chance.choice(self._refs)
        return ref, copy.deepcopy(self.chance.choice(self._variants[ref]))


Made = tuple[Ref, Raw | None] | None


def _variant(world: World) -> Made:
    return world.drawn()


def _again(world: World) -> Made:
    """Another variant of what is there and has several."""
    found = [ref for ref in sorted(world.raw) if len(world._variants.get(ref, ())) > 1]
    if not found:
        return None
    ref = world.chance.choice(found)
    return ref, copy.deepcopy(world.chance.choice(world._variants[ref]))


def _gone(world: World) -> Made:
    ref = world.present() if len(world.raw) > SOME else world.present("Pod", "Service/", "Sidecar")
    return None if ref is None else (ref, None)


def _relabelled(world: World) -> Made:
    ref = world.present("Pod", "Service/", "WorkloadEntry", "Node")
    if ref is None:
        return None
    raw = copy.deepcopy(world.raw[ref])
    label = world.chance.choice(sorted(_LABELS))
    labels = raw["metadata"].setdefault("labels", {})
    if label in labels and world.chance.random() < 0.4:
        del labels[label]
    else:
        labels[label] = world.chance.choice(_LABELS[label])
    return ref, raw


def _moved(world: World) -> Made:
    ref = world.present("Pod")
    if ref is None:
        return None
    raw = copy.deepcopy(world.raw[ref])
    address = f"10.244.{world.chance.randrange(2)}.{world.chance.randrange(1, 30)}"
    addresses = [address] if world.chance.random() < 0.8 else [address, "fd00::7"]
    raw.setdefault("status", {})["podIP"] = address
    raw["status"]["podIPs"] = [{"ip": one} for one in addresses]
    return ref, raw


def _failed(world: World) -> Made:
    ref = world.present("Pod")
    if ref is None:
        return None
    raw = copy.deepcopy(world.raw[ref])
    ready = world.chance.choice(("True", "False"))
    raw.setdefault("status", {})["conditions"] = [{"type": "Ready", "status": ready}]
    if world.chance.random() < 0.2:
        raw["status"]["phase"] = world.chance.choice(("Running", "Failed"))
    return ref, raw


def _aged(world: World) -> Made:
    ref = world.present()
    if ref is None:
        return None
    raw = copy.deepcopy(world.raw[ref])
    raw["metadata"]["creationTimestamp"] = f"20{world.chance.randrange(10, 30)}-01-01T00:00:00Z"
    return ref, raw


def _elsewhere(world: World) -> Made:
    """The same in another namespace."""
    _, raw = world.drawn()
    if not raw["metadata"].get("namespace"):
        return None
    raw["metadata"]["namespace"] = world.chance.choice(_NAMESPACES)
    return identify(raw).ref, raw


def _exported(world: World) -> Made:
    ref = world.present("VirtualService", "DestinationRule", "ServiceEntry", "Service/")
    if ref is None:
        return None
    raw = copy.deepcopy(world.raw[ref])
    audience = world.chance.choice((["."], ["*"], ["other"], ["shop", "edge"]))
    if ref.startswith("Service/"):
        notes = raw["metadata"].setdefault("annotations", {})
        notes["networking.istio.io/exportTo"] = ",".join(audience)
    else:
        raw["spec"]["exportTo"] = audience
    return ref, raw


def _broken(world: World) -> Made:
    ref = world.present()
    if ref is None:
        return None
    raw = copy.deepcopy(world.raw[ref])
    raw["spec"] = world.chance.choice(([], "nonsense", {"nonsense": {"a": [1]}}))
    return ref, raw


_MOVES = (
    ("variant of", _variant),
    ("again", _again),
    ("remove", _gone),
    ("relabel", _relabelled),
    ("move", _moved),
    ("fail", _failed),
    ("age", _aged),
    ("copy to", _elsewhere),
    ("export", _exported),
    ("break", _broken),
)
_WEIGHTS = (24, 14, 14, 8, 8, 6, 6, 8, 6, 6)


def shuffled(found: Iterable[Resource], seed: int) -> list[Resource]:
    """Return the same in another order."""
    mixed = list(found)
    random.Random(seed).shuffle(mixed)  # noqa: S311 - the same order every time
    return mixed
