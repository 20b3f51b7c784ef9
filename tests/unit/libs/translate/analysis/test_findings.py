"""What analysis notices in a whole state, each with what it must not notice."""

import pytest

from libs.api import codes
from libs.translate import analysis
from tests.support.resources import translated

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: %s, labels: {%s}}
spec: {containers: [{name: app, ports: [{name: web, containerPort: 8080}]}]}
---
"""
WEB = POD % ("web", "shop", "app: web, version: v1")
EDGE = POD % ("edge", "edge", "istio: edge")
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s}
spec: {selector: {%s}, ports: [{%s}]}
---
"""
RESOURCE = """
apiVersion: %s.istio.io/v1
kind: %s
metadata: {name: %s, namespace: shop, creationTimestamp: "1970-01-01T00:00:0%dZ"}
spec: {%s}
---
"""


def policy(selector: str, namespace: str = "shop") -> str:
    spec = f"selector: {{matchLabels: {{{selector}}}}}, mtls: {{mode: STRICT}}"
    text = RESOURCE % ("security", "PeerAuthentication", "p", 1, spec)
    return text.replace("namespace: shop", f"namespace: {namespace}")


def sidecar(name: str, second: int, selector: str = "") -> str:
    wanted = f"workloadSelector: {{labels: {{{selector}}}}}, " if selector else ""
    spec = f"{wanted}egress: [{{hosts: ['*/*']}}]"
    return RESOURCE % ("networking", "Sidecar", name, second, spec)


def telemetry(name: str, second: int, selector: str = "") -> str:
    wanted = f"selector: {{matchLabels: {{{selector}}}}}, " if selector else ""
    spec = f"{wanted}accessLogging: [{{disabled: true}}]"
    return RESOURCE % ("telemetry", "Telemetry", name, second, spec)


def gateway(name: str = "g", second: int = 1, port: int = 80, tls: str = "") -> str:
    protocol = "HTTPS" if tls else "HTTP"
    server = f"port: {{number: {port}, name: p, protocol: {protocol}}}, hosts: ['*.example.com']"
    more = f", tls: {{mode: SIMPLE, credentialName: {tls}}}" if tls else ""
    spec = f"selector: {{istio: edge}}, servers: [{{{server}{more}}}]"
    return RESOURCE % ("networking", "Gateway", name, second, spec)


def routing(host: str, match: str = "") -> str:
    rule = (
        f"http: [{{match: [{{{match or 'uri: {prefix: /}'}}}], directResponse: {{status: 200}}}}]"
    )
    spec = f"hosts: [{host}], gateways: [g], {rule}"
    return RESOURCE % ("networking", "VirtualService", "v", 1, spec)


def subset(labels: str) -> str:
    spec = f"host: web, subsets: [{{name: s, labels: {{{labels}}}}}]"
    return RESOURCE % ("networking", "DestinationRule", "d", 1, spec)


def entry(name: str, second: int, protocol: str) -> str:
    port = f"{{number: 80, name: p, protocol: {protocol}}}"
    spec = f"hosts: [a.example], resolution: DNS, ports: [{port}]"
    return RESOURCE % ("networking", "ServiceEntry", name, second, spec)


def service(
    name: str,
    ports: str = "name: tcp, port: 80",
    selector: str = "app: web",
    *,
    namespace: str = "shop",
) -> str:
    """Return a Service; `web` is older than `other`."""
    text = SERVICE % (name, namespace, selector, ports.removeprefix("{").removesuffix("}"))
    seconds = {"web": 1, "other": 2}[name]
    return text.replace(
        "namespace:", f'creationTimestamp: "1970-01-01T00:00:0{seconds}Z", namespace:'
    )


ALIAS = """
apiVersion: v1
kind: Service
metadata: {name: alias, namespace: shop}
spec: {type: ExternalName, externalName: db.example.com, ports: [{name: %s, port: 5432}]}
---
"""
TOKENS = RESOURCE % (
    "security",
    "RequestAuthentication",
    "r",
    1,
    "jwtRules: [{issuer: i, jwks: '{}'}]",
)
TOKENS = TOKENS.replace("namespace: shop", "namespace: istio-system")
CLAIMS = "headers: {'@request.auth.claims.group': {exact: a}}"
PROXIED = "security.istio.io/tlsMode: istio, "
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i, namespace: shop, annotations: {kubernetes.io/ingress.class: %s}}
spec:
  rules:
  - http:
      paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]
---
"""


def routes(subset: str) -> str:
    """Return a VirtualService for the host web, and a DestinationRule with its subset."""
    target = f"{{host: web{', subset: s' if subset else ''}}}"
    spec = f"hosts: [web], http: [{{route: [{{destination: {target}}}]}}]"
    rule = RESOURCE % ("networking", "DestinationRule", "d", 1, f"host: web, subsets: [{subset}]")
    return RESOURCE % ("networking", "VirtualService", "v", 1, spec) + rule


V1 = "{name: s, labels: {version: v1}}"
EDGE_SERVICE = SERVICE % ("edge", "edge", "istio: edge", "name: http, port: 80, targetPort: 8080")
WEB_SERVICE = SERVICE % ("web", "shop", "app: web", "name: http, port: 80")


def found(text: str) -> list[tuple[str, str, str]]:
    return [(codes.of(it), it.ref, it.path) for it in analysis.findings(translated(text).state)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            WEB + policy("app: gone"),
            ("IST0127", "PeerAuthentication/shop/p", "spec.selector.matchLabels"),
        ),
        (
            EDGE + policy("app: web"),
            ("IST0127", "PeerAuthentication/shop/p", "spec.selector.matchLabels"),
        ),
        (WEB + gateway(), ("IST0101", "Gateway/shop/g", "spec.selector")),
        (sidecar("a", 1) + sidecar("b", 2), ("IST0111", "Sidecar/shop/b", "spec")),
        (
            WEB + sidecar("a", 1, "app: web") + sidecar("b", 2, "version: v1"),
            ("IST0110", "Sidecar/shop/b", "spec.workloadSelector"),
        ),
        (telemetry("a", 2) + telemetry("b", 1), ("IST0160", "Telemetry/shop/a", "spec")),
        (
            WEB + telemetry("a", 1, "app: web") + telemetry("b", 2, "version: v1"),
            ("IST0159", "Telemetry/shop/b", "spec.selector"),
        ),
        (
            gateway() + routing("a.example.org"),
            ("IST0132", "VirtualService/shop/v", "spec.hosts[0]"),
        ),
        (
            gateway(tls="c") + gateway("h", 2, 443, tls="c"),
            ("IST0138", "Gateway/shop/h", "spec.servers[0].tls"),
        ),
        (
            EDGE + EDGE_SERVICE + gateway(port=81),
            ("IST0162", "Gateway/shop/g", "spec.servers[0].port.number"),
        ),
        (
            EDGE + gateway() + routing("a.example.com", CLAIMS),
            ("IST0149", "VirtualService/shop/v", "spec.http[0].match[0].headers"),
        ),
        (
            WEB + WEB_SERVICE + subset("version: v2"),
            ("IST0173", "DestinationRule/shop/d", "spec.subsets[0].labels"),
        ),
        (
            SERVICE % ("web", "shop", "app: web", "name: web, port: 80"),
            ("IST0118", "Service/shop/web", "spec.ports[0].name"),
        ),
        (
            entry("a", 1, "HTTP") + entry("b", 2, "TCP"),
            ("IST0177", "ServiceEntry/shop/b", "spec.ports[0].protocol"),
        ),
        (
            WEB + WEB_SERVICE + service("other", "name: tcp, port: 80"),
            ("IST0116", "Service/shop/other", "spec.ports[0]"),
        ),
        (
            WEB
            + service("web", "name: http, port: 80, targetPort: web")
            + service("other", "name: tcp, port: 9000, targetPort: 8080"),
            ("IST0116", "Service/shop/other", "spec.ports[0]"),
        ),
        (
            WEB
            + POD % ("replica", "shop", "app: web, version: v2")
            + service("web", "name: http, port: 80, targetPort: web")
            + service("other", "name: http, port: 81, targetPort: 8080"),
            ("IST0137", "Service/shop/other", "spec.ports[0].port"),
        ),
        (
            WEB + POD % ("b", "shop", PROXIED + "app: b") + policy("app: web"),
            ("IST0167", "PeerAuthentication/shop/p", "spec.selector.matchLabels"),
        ),
        (
            WEB_SERVICE + INGRESS % "istio" + routes(V1),
            ("IST0140", "VirtualService/shop/v", "spec.hosts[0]"),
        ),
        (ALIAS % "db", ("IST0150", "Service/shop/alias", "spec.ports[0].name")),
    ],
)
def test_what_is_noticed(text: str, expected: tuple[str, str, str]) -> None:
    assert found(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        WEB + policy("app: web"),
        WEB + policy("app: web", "istio-system"),
        policy("app: gone"),  # nobody is known: the manifests have no Pods
        EDGE + gateway(),
        sidecar("a", 1),
        sidecar("a", 1) + sidecar("b", 2).replace("namespace: shop", "namespace: other"),
        WEB + sidecar("a", 1) + sidecar("b", 2, "app: web"),
        WEB
        + POD % ("b", "shop", "app: b")
        + sidecar("a", 1, "app: web")
        + sidecar("b", 2, "app: b"),
        telemetry("a", 1),
        gateway() + routing("a.example.com"),
        gateway() + routing("'*.com'"),
        gateway(tls="c") + gateway("h", 2, 443, tls="d"),
        EDGE + EDGE_SERVICE + gateway(port=80),
        EDGE + EDGE_SERVICE + gateway(port=8080),
        EDGE + gateway(port=81),  # no Service at all: it is reached in other ways
        EDGE + TOKENS + gateway() + routing("a.example.com", CLAIMS),
        WEB + WEB_SERVICE + subset("version: v1"),
        SERVICE % ("web", "shop", "app: web", "name: web, port: 80, appProtocol: http"),
        SERVICE % ("web", "kube-system", "app: web", "name: web, port: 80"),
        entry("a", 1, "HTTP") + entry("b", 2, "HTTP"),
        WEB + WEB_SERVICE + service("other", "name: http, port: 80"),
        WEB + WEB_SERVICE + service("other", "name: tcp, port: 81"),
        WEB + service("web", "name: http, port: 80, targetPort: gone") + service("other"),
        WEB + WEB_SERVICE + service("other", "name: tcp, port: 80", "app: other"),
        WEB + WEB_SERVICE + service("other", "name: tcp, port: 80", namespace="other"),
        WEB + service("web", "{name: http, port: 80}, {name: http-more, port: 81, targetPort: 80}"),
        ALIAS % "tcp-db",
        POD % ("web", "shop", PROXIED + "app: web") + policy("app: web"),
        WEB + POD % ("web", "other", PROXIED + "app: web") + policy("app: web", "istio-system"),
        WEB_SERVICE + INGRESS % "istio" + routes(""),
        WEB_SERVICE + INGRESS % "nginx" + routes(V1),
        WEB_SERVICE + routes(V1),
    ],
)
def test_what_is_not(text: str) -> None:
    assert found(text) == []
