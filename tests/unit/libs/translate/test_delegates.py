import pytest

from libs.model.traffic import HttpRoute, Routing
from libs.translate.apply import Remove, apply
from libs.translate.state import State
from tests.support.resources import translated

ROOT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: root, namespace: shop}}
spec:
  hosts: [web]
  http:
  - name: first
    {first}
    delegate: {{name: inner, namespace: team}}
  - name: last
    directResponse: {{status: 200}}
"""
INNER = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: inner, namespace: team}}
spec:
  {spec}
"""
TO_A = "route: [{destination: {host: a}}]"


def both(first: str, rule: str) -> tuple[list[HttpRoute], list[str]]:
    step = translated(ROOT.format(first=first) + "---" + INNER.format(spec=f"http: [{{{rule}}}]"))
    return routes(step.state), [it.reason for it in step.problems if it.ref.endswith("/root")]


def routes(state: State) -> list[HttpRoute]:
    found: Routing = state.mesh.routings["VirtualService/shop/root"]
    return list(found.http)


def test_the_delegates_routes_take_the_place_of_the_roots() -> None:
    merged, _ = both("timeout: 5s", f"name: in, timeout: 1s, {TO_A}")
    assert [route.name for route in merged] == ["first-in", "last"]
    assert merged[0].timeout == 1000
    assert merged[0].destinations[0].destination.host == "a.team.svc.cluster.local"
    assert merged[0].refs == ("VirtualService/team/inner",)


def test_what_the_delegate_leaves_open_is_as_the_root_says() -> None:
    lines = ("timeout: 5s", "retries: {attempts: 3}", "headers: {request: {set: {a: b}}}")
    merged, _ = both("\n    ".join(lines), TO_A)
    assert merged[0].timeout == 5000
    assert merged[0].retries is not None
    assert merged[0].headers is not None
    assert merged[0].headers.request_set == {"a": "b"}


@pytest.mark.parametrize(
    ("root", "inner"),
    [
        ("uri: {prefix: /a}", "uri: {prefix: /a/b}"),
        ("uri: {prefix: /a}", "uri: {exact: /a}"),
        ("uri: {exact: /a}", "uri: {exact: /a}"),
        ("uri: {prefix: /a}", "method: {exact: GET}"),
        ("uri: {regex: a}", "headers: {x: {exact: a}}"),
        ("port: 80", "sourceLabels: {a: b}"),
        ("sourceLabels: {a: b}", "sourceLabels: {a: b, c: d}"),
        ("headers: {x: {prefix: a}}", "headers: {x: {exact: ab}}"),
    ],
)
def test_matches_within_the_roots(root: str, inner: str) -> None:
    merged, problems = both(f"match: [{{{root}}}]", f"match: [{{{inner}}}], {TO_A}")
    assert len(merged) == 2
    assert len(merged[0].matches) == 1
    assert problems == ["HostNotFound"] * problems.count("HostNotFound")


@pytest.mark.parametrize(
    ("root", "inner"),
    [
        ("uri: {prefix: /a}", "uri: {prefix: /b}"),
        ("uri: {prefix: /a/b}", "uri: {prefix: /a}"),
        ("uri: {exact: /a}", "uri: {prefix: /a}"),
        ("uri: {exact: /a}", "uri: {exact: /b}"),
        ("uri: {regex: /a}", "uri: {exact: /a}"),
        ("uri: {prefix: /a}", "uri: {regex: /a}"),
        ("port: 80", "port: 81"),
        ("sourceLabels: {a: b}", "sourceLabels: {a: c}"),
        ("uri: {prefix: /a}", "{uri: {prefix: /a}, ignoreUriCase: true}"),
        ("headers: {x: {exact: a}}", "headers: {x: {exact: b}}"),
    ],
)
def test_a_match_that_leaves_the_roots_costs_its_route(root: str, inner: str) -> None:
    inner = inner.strip("{}") if inner.startswith("{") else inner
    merged, problems = both(f"match: [{{{root}}}]", f"match: [{{{inner}}}], {TO_A}")
    assert [route.name for route in merged] == ["last"]
    assert "UnreachableRule" in problems


def test_every_match_of_the_delegate_needs_one_of_the_roots() -> None:
    root = "match: [{uri: {prefix: /a}}, {uri: {prefix: /b}}]"
    merged, _ = both(root, f"match: [{{uri: {{exact: /a/x}}}}, {{uri: {{exact: /b/x}}}}], {TO_A}")
    assert [match.uri.value for match in merged[0].matches if match.uri] == ["/a/x", "/b/x"]
    merged, _ = both(root, f"match: [{{uri: {{exact: /a/x}}}}, {{uri: {{exact: /c}}}}], {TO_A}")
    assert [route.name for route in merged] == ["last"]


@pytest.mark.parametrize(
    "spec",
    [
        "exportTo: [other]\n  http: [{route: [{destination: {host: a}}]}]",
        "hosts: [b]\n  http: [{route: [{destination: {host: a}}]}]",
    ],
)
def test_a_delegate_that_is_not_for_the_root_costs_only_its_route(spec: str) -> None:
    step = translated(ROOT.format(first="") + "---" + INNER.format(spec=spec))
    assert [route.name for route in routes(step.state)] == ["last"]
    assert "DelegateNotFound" in [it.reason for it in step.problems]


def test_delegates_come_and_go() -> None:
    state = translated(ROOT.format(first="")).state
    assert [route.name for route in routes(state)] == ["last"]
    state = translated(INNER.format(spec=f"http: [{{{TO_A}}}]"), state).state
    assert [route.name for route in routes(state)] == ["first", "last"]
    state = apply(state, [Remove("VirtualService/team/inner")]).state  # type: ignore[arg-type]
    assert [route.name for route in routes(state)] == ["last"]
