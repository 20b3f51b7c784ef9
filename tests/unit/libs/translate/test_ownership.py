"""Whose hosts are, where hosts are strictly their owners'."""

import pytest

from libs.model.settings import MeshSettings
from libs.translate.apply import Remove, Step, Upsert, apply, initial
from tests.support.resources import resources, translated

OWNED = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {ANNOTATIONS}}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api, namespace: shop, creationTimestamp: 1970-01-01T00:00:05Z}
spec: {hosts: [api.example.com], ports: [{name: http, number: 80}], resolution: DNS}
"""
WEB = "web.shop.svc.cluster.local"


def strictly(text: str, annotations: str = "") -> Step:
    whole = OWNED.replace("ANNOTATIONS", annotations) + "---" + text
    strict = initial(MeshSettings(strict_hosts=True))
    return apply(strict, [Upsert(resource, 1.0) for resource in resources(whole)])


def routed(host: str, namespace: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: r, namespace: {namespace}}}
spec: {{hosts: ["{host}"], http: [{{route: [{{destination: {{host: x}}}}]}}]}}
"""


def declared(host: str, namespace: str, created: int = 9) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: e, namespace: {namespace}, creationTimestamp: "1970-01-01T00:00:0{created}Z"}}
spec: {{hosts: ["{host}"], ports: [{{name: http, number: 80}}], resolution: DNS}}
"""


def told(step: Step) -> list[str]:
    return [str(it.ref) for it in step.problems if it.reason == "ForeignHost"]


FOREIGN = [WEB, "web.shop", "web.shop.svc", "api.example.com", "*.shop.svc.cluster.local", "*.com"]


@pytest.mark.parametrize("host", [*FOREIGN, "*", "*.local", "gone.shop.svc.cluster.local"])
def test_a_routing_of_anothers_host_holds_at_home_only(host: str) -> None:
    step = strictly(routed(host, "evil"))
    (row,) = step.state.mesh.routings.values()
    assert row.others == (host,)
    assert told(step) == ["VirtualService/evil/r"]


@pytest.mark.parametrize(
    ("host", "namespace"),
    [
        *((host, "istio-system") for host in FOREIGN),
        (WEB, "shop"),
        ("api.example.com", "shop"),
        ("*.shop.svc.cluster.local", "shop"),
        ("x", "evil"),
        ("nobodys.example.com", "evil"),
    ],
)
def test_owners_and_the_root_namespace_route_for_all(host: str, namespace: str) -> None:
    step = strictly(routed(host, namespace))
    (row,) = step.state.mesh.routings.values()
    assert row.others == ()
    assert told(step) == []


def test_an_owner_can_agree() -> None:
    agreed = 'seine.io/hosts-routed-by: "friend, other"'
    assert told(strictly(routed(WEB, "friend"), agreed)) == []
    assert told(strictly(routed(WEB, "evil"), agreed)) == ["VirtualService/evil/r"]


@pytest.mark.parametrize("host", [WEB, "api.example.com", "*.cluster.local", "web", "web.shop"])
def test_an_entry_for_anothers_host_is_seen_at_home_only(host: str) -> None:
    step = strictly(declared(host, "evil"))
    assert told(step) == ["ServiceEntry/evil/e"]
    assert step.state.mesh.services[f"evil/{host}/e"].export_to == (".",)


def test_the_oldest_entry_owns_its_host() -> None:
    step = strictly(declared("api.example.com", "early", created=1))
    assert told(step) == ["ServiceEntry/shop/api"]
    gone = apply(step.state, [Remove("ServiceEntry/early/e", 2.0)])
    assert told(gone) == []


def test_without_strictness_anybody_may_as_in_istio() -> None:
    step = translated(OWNED.replace("ANNOTATIONS", "") + "---" + routed(WEB, "evil"))
    (row,) = step.state.mesh.routings.values()
    assert row.others == ()
    assert told(step) == []
