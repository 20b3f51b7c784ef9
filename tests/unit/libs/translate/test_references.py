import pytest

from libs.api.problem import Problem, Severity
from libs.translate.apply import Remove, Upsert, apply
from tests.support.resources import resources, translated

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
"""
SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}]}
---
"""


def routing(destination: str, name: str = "reviews", second: int = 0, more: str = "") -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: shop, creationTimestamp: "1970-01-01T00:00:0{second}Z"}}
spec: {{hosts: [reviews], http: [{{route: [{{destination: {destination}}}]}}]{more}}}
---
"""


def only(text: str) -> Problem:
    (problem,) = translated(text).problems
    return problem


def test_a_host_that_is_not_there_until_it_is() -> None:
    step = translated(routing("{host: reviews}"))
    (problem,) = step.problems
    assert problem.ref == "VirtualService/shop/reviews"
    assert problem.path == "spec.http[0].route[0].destination.host"
    assert problem.reason == "HostNotFound"
    assert problem.severity is Severity.ERROR
    assert step.state.mesh.routings

    step = translated(SERVICE, step.state)
    assert step.problems == ()

    step = apply(step.state, [Remove(resources(SERVICE)[0].ref)])
    assert [it.reason for it in step.problems] == ["HostNotFound"]


def test_a_subset_that_is_not_there_until_it_is() -> None:
    step = translated(SERVICE + routing("{host: reviews, subset: v1}"))
    (problem,) = step.problems
    assert problem.path == "spec.http[0].route[0].destination.subset"
    assert problem.reason == "SubsetNotFound"
    assert translated(SUBSETS, step.state).problems == ()


@pytest.mark.parametrize("pattern", ["'*.shop.svc.cluster.local'", "'*.cluster.local'", "'*'"])
def test_a_subset_of_a_wildcard_counts(pattern: str) -> None:
    text = SUBSETS.replace("host: reviews", f"host: {pattern}")
    assert translated(SERVICE + text + routing("{host: reviews, subset: v1}")).problems == ()


@pytest.mark.parametrize(
    ("namespace", "reasons"),
    [("shop", []), ("istio-system", []), ("elsewhere", ["SubsetNotFound"])],
)
def test_a_subset_counts_only_where_a_client_can_find_it(
    namespace: str, reasons: list[str]
) -> None:
    text = SUBSETS.replace("namespace: shop", f"namespace: {namespace}").replace(
        "host: reviews", "host: reviews.shop.svc.cluster.local"
    )
    step = translated(SERVICE + text + routing("{host: reviews, subset: v1}"))
    assert [it.reason for it in step.problems] == reasons


def test_ports() -> None:
    problem = only(SERVICE + routing("{host: reviews, port: {number: 81}}"))
    assert (problem.path, problem.reason) == (
        "spec.http[0].route[0].destination.port.number",
        "PortNotFound",
    )
    two = SERVICE.replace("[{name: http, port: 80}]", "[{name: a, port: 80}, {name: b, port: 81}]")
    problem = only(two + routing("{host: reviews}"))
    assert (problem.reason, problem.severity) == ("PortAmbiguous", Severity.WARNING)
    assert translated(two + routing("{host: reviews, port: {number: 81}}")).problems == ()


def test_a_name_with_a_dot_is_not_short_and_the_text_says_so() -> None:
    problem = only(SERVICE + routing("{host: reviews.shop}"))
    assert "write reviews.shop.svc.cluster.local" in problem.text


def test_an_external_name_counts_as_what_it_stands_for() -> None:
    alias = """
apiVersion: v1
kind: Service
metadata: {name: old, namespace: shop}
spec: {type: ExternalName, externalName: TARGET, ports: [{port: 80}]}
---
"""
    inside = alias.replace("TARGET", "reviews.shop.svc.cluster.local")
    assert translated(SERVICE + inside + routing("{host: old}")).problems == ()
    problem = only(SERVICE + alias.replace("TARGET", "example.com") + routing("{host: old}"))
    assert problem.reason == "HostNotFound"
    assert "example.com" in problem.text


def test_the_newer_of_two_routings_for_a_host_is_a_problem() -> None:
    old = routing("{host: reviews}", "old", 1)
    new = routing("{host: reviews}", "new", 2)
    step = translated(SERVICE + new + old)
    (problem,) = step.problems
    assert (problem.ref, problem.path, problem.reason) == (
        "VirtualService/shop/new",
        "spec.hosts[0]",
        "ConflictingHost",
    )
    assert "VirtualService/shop/old" in problem.text
    assert apply(step.state, [Remove(resources(old)[0].ref)]).problems == ()


@pytest.mark.parametrize(
    "more", [", gateways: [edge]", ", exportTo: [elsewhere]", ", exportTo: ['~']"]
)
def test_routings_that_no_sidecar_sees_together_do_not_conflict(more: str) -> None:
    old = routing("{host: reviews}", "old", 1, more)
    new = routing("{host: reviews}", "new", 2, ", exportTo: ['.']")
    assert translated(GATEWAY + SERVICE + new + old).problems == ()


def test_a_gateway_that_is_not_there_is_said_until_it_comes() -> None:
    bound = routing("{host: reviews}", more=", gateways: [mesh, edge]")
    step = translated(SERVICE + bound)
    (problem,) = step.problems
    assert (problem.path, problem.reason) == ("spec.gateways[1]", "GatewayNotFound")
    assert apply(step.state, [Upsert(resources(GATEWAY)[0])]).problems == ()


def test_each_destination_is_looked_at() -> None:
    text = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews}}]
    mirror: {host: a}
  - mirrors: [{destination: {host: b}}]
    route: [{destination: {host: reviews}}]
  tls: [{match: [{sniHosts: [x.y]}], route: [{destination: {host: c}}]}]
  tcp: [{route: [{destination: {host: d}}]}]
"""
    assert [it.path for it in translated(SERVICE + text).problems] == [
        "spec.http[0].mirror.host",
        "spec.http[1].mirrors[0].destination.host",
        "spec.tcp[0].route[0].destination.host",
        "spec.tls[0].route[0].destination.host",
    ]


def test_a_problem_of_one_resource_blocks_no_other() -> None:
    step = translated(SERVICE + routing("{host: gone}", "bad") + SUBSETS)
    assert step.state.mesh.host_policies
    assert step.state.mesh.services


def test_rules_for_hosts_that_are_not_there_or_already_decided() -> None:
    problem = only(SUBSETS)
    assert (problem.path, problem.reason) == ("spec.host", "HostNotFound")

    def rule(name: str, second: int, spec: str) -> str:
        return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: shop, creationTimestamp: "1970-01-01T00:00:0{second}Z"}}
spec: {{host: reviews, {spec}}}
---
"""

    policy = "trafficPolicy: {tls: {mode: DISABLE}}, subsets: [{name: v1}]"
    step = translated(SERVICE + rule("old", 1, policy) + rule("new", 2, policy))
    assert [(it.ref, it.path, it.reason) for it in step.problems] == [
        ("DestinationRule/shop/new", "spec.subsets[0].name", "DuplicateSubset"),
        ("DestinationRule/shop/new", "spec.trafficPolicy", "ConflictingPolicy"),
    ]
    apart = rule("old", 1, policy) + rule("new", 2, policy + ", exportTo: ['.']")
    assert translated(SERVICE + apart).problems == ()
