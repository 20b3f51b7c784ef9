"""Who wins when resources want the same: tables over kinds, from manifests to what Envoy gets.

Each pair is asked with either of two as the older one, so that a row which always answers the same
cannot pass, and with both of one age, when the name decides. A resource is told from its rival by a
mark, a text or number that turns up in what the proxy gets.
"""

import json
from typing import NamedTuple

import pytest

from services.ctl import render

MARKS = {"a": "10001", "b": "20002"}
OLD, NEW = "2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z"
WORLD = """
kind: Pod
apiVersion: v1
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {serviceAccountName: client, containers: [{name: app}]}
status: {phase: Running, podIP: 10.244.0.9, podIPs: [{ip: 10.244.0.9}]}
---
kind: Pod
apiVersion: v1
metadata:
  name: gw
  namespace: shop
  labels: {istio: gw}
  annotations: {inject.istio.io/templates: gateway}
spec: {serviceAccountName: gw, containers: [{name: istio-proxy}]}
status: {phase: Running, podIP: 10.244.0.10, podIPs: [{ip: 10.244.0.10}]}
---
kind: Service
apiVersion: v1
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, selector: {app: web}, ports: [{name: http, port: 80}]}
"""


class Row(NamedTuple):
    """Two resources that want the same; CAPITALS are filled in."""

    what: str
    kind: str
    spec: str
    proxy: str = "client.shop"
    namespace: str = "shop"


API = {"Service": "v1"}
NETWORKING = "networking.istio.io/v1"


def manifest(row: Row, name: str, created: str, *, host: str = "", mark: str = "") -> str:
    """Return one resource of a row."""
    namespace = row.namespace.replace("NAME", name)
    spec = row.spec.replace("MARK", mark or MARKS[name]).replace("HOST", host)
    return f"""
kind: {row.kind}
apiVersion: {API.get(row.kind, NETWORKING)}
metadata: {{name: {name}, namespace: {namespace}, creationTimestamp: "{created}"}}
spec: {spec.replace("NAME", name)}
"""


def given(row: Row, *manifests: str) -> str:
    """Return all that the proxy of a row gets, as JSON, without where it came from."""
    rendered = render.render({"all.yaml": "\n---\n".join((WORLD, *manifests))}, row.proxy)
    return json.dumps({kind: rendered[kind] for kind in render.KINDS})


ROUTING = "{hosts: [HOST], http: [{directResponse: {status: 200, body: {string: mark-MARK}}}]}"
POLICY = "{host: HOST, trafficPolicy: {connectionPool: {tcp: {maxConnections: MARK}}}}"
SUBSET = (
    '{host: web, subsets: [{name: s, labels: {v: "1"},'
    " trafficPolicy: {connectionPool: {tcp: {maxConnections: MARK}}}}]}"
)
TLS = (
    "{selector: {istio: gw}, servers: [{port: {number: 8443, name: https, protocol: HTTPS},"
    " hosts: [HOST], tls: {mode: SIMPLE, credentialName: of-MARK}}]}"
)
SIDECAR = (
    '{SELECTOR egress: [{port: {number: MARK, protocol: HTTP_PROXY, name: x}, hosts: ["./*"]}]}'
)
ENTRY = (
    "{hosts: [far.example], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS,"
    " endpoints: [{address: at-MARK.example}]}"
)
EXPOSED = (
    "{clusterIP: None, selector: {app: client},"
    " ports: [{name: http, port: MARK, targetPort: 8080}]}"
)

OLDEST = [
    Row("a service's host", "VirtualService", ROUTING.replace("HOST", "web")),
    Row("a host that is no service", "VirtualService", ROUTING.replace("HOST", "free.example")),
    Row("the policy of a host", "DestinationRule", POLICY.replace("HOST", "web")),
    Row("the policy of wildcards", "DestinationRule", POLICY.replace("HOST", '"*.local"')),
    Row("a subset", "DestinationRule", SUBSET),
    Row("a name of TLS", "Gateway", TLS.replace("HOST", "a.example"), proxy="gw.shop"),
    Row("the namespace's Sidecar", "Sidecar", SIDECAR.replace("SELECTOR", "")),
    Row(
        "the workload's Sidecar",
        "Sidecar",
        SIDECAR.replace("SELECTOR", "workloadSelector: {labels: {app: client}},"),
    ),
    Row("a host of ServiceEntries", "ServiceEntry", ENTRY, namespace="NAME"),
]


@pytest.mark.parametrize("row", OLDEST, ids=lambda row: row.what)
@pytest.mark.parametrize(("a", "b", "winner"), [(OLD, NEW, "a"), (NEW, OLD, "b"), (OLD, OLD, "a")])
def test_the_oldest_wins_and_of_equally_old_ones_the_first_by_name(
    row: Row, a: str, b: str, winner: str
) -> None:
    text = given(row, manifest(row, "b", b), manifest(row, "a", a))
    loser = "b" if winner == "a" else "a"
    assert MARKS[winner] in text
    assert MARKS[loser] not in text
    alone = given(row, manifest(row, loser, OLD))
    assert MARKS[loser] in alone, "it loses to its rival and to nothing else"


@pytest.mark.parametrize(("a", "b", "winner"), [(OLD, NEW, "a"), (NEW, OLD, "b"), (OLD, OLD, "a")])
def test_of_services_at_one_port_of_a_workload_the_oldest_decides(
    a: str, b: str, winner: str
) -> None:
    row = Row("a port of a workload", "Service", EXPOSED)
    text = given(row, manifest(row, "b", b), manifest(row, "a", a))
    decided = [name for name, mark in MARKS.items() if f"inbound|http|{mark}" in text]
    assert decided == [winner]


SPECIFIC = [
    Row("routings", "VirtualService", ROUTING),
    Row("policies", "DestinationRule", POLICY),
]
PATTERNS = {
    "wide": '"*.local"',
    "narrower": '"*.shop.svc.cluster.local"',
    "exact": "web.shop.svc.cluster.local",
    "elsewhere": '"*.bank.svc.cluster.local"',
}


@pytest.mark.parametrize("row", SPECIFIC, ids=lambda row: row.what)
@pytest.mark.parametrize(
    ("there", "winner"),
    [
        (("wide", "narrower", "exact", "elsewhere"), "exact"),
        (("exact", "narrower", "wide", "elsewhere"), "exact"),
        (("wide", "narrower", "elsewhere"), "narrower"),
        (("narrower", "wide"), "narrower"),
        (("wide", "elsewhere"), "wide"),
        (("elsewhere",), ""),
    ],
)
def test_the_most_specific_host_wins_whatever_its_age(
    row: Row, there: tuple[str, ...], winner: str
) -> None:
    marks = {name: str(30001 + number) for number, name in enumerate(PATTERNS)}
    manifests = [
        manifest(row, name, f"20{10 + age}-01-01T00:00:00Z", host=PATTERNS[name], mark=marks[name])
        for age, name in enumerate(there)
    ]
    rendered = render.render({"all.yaml": "\n---\n".join((WORLD, *manifests))}, row.proxy)
    told = [name for name, mark in marks.items() if mark in _about_web(rendered)]
    assert told == ([winner] if winner else [])


def _about_web(rendered: dict[str, object]) -> str:
    """Return the cluster of `web`, and the routes for it."""
    routes = [
        host
        for config in rendered["routes"]  # type: ignore[attr-defined]
        for host in config["virtual_hosts"]
        if host["name"].startswith("web.")
    ]
    clusters = [one for one in rendered["clusters"] if "web." in one["name"]]  # type: ignore[attr-defined]
    return json.dumps([routes, clusters])
