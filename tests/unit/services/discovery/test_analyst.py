"""What a resource would make of the state, asked before it is applied."""

from libs.api import codes
from libs.api.check import check
from libs.api.problem import Problem
from libs.translate.apply import State
from services.discovery.analyst import Analyst
from tests.support.resources import translated

MESH = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: routes, namespace: shop}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}
---
"""
SUBSETS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: subsets, namespace: shop}
spec: {host: web, subsets: [{name: %s, labels: {version: v1}}]}
"""


def _analyst(state: State) -> Analyst:
    return Analyst(lambda: state, lambda problem: problem)


TOKENS = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: shop}
spec: {jwtRules: [{issuer: a}, {issuer: b, jwksUri: "https://b.example/keys"}]}
"""


async def test_keys_that_may_be_fetched_from_anywhere_are_noticed() -> None:
    state = translated(TOKENS).state
    for anywhere, paths in ((True, ["spec.jwtRules[1].jwksUri"]), (False, [])):
        analyst = Analyst(lambda: state, lambda it: it, fetches_anywhere=anywhere)
        noticed = [it for it in await analyst.findings() if it.reason == "UnrestrictedFetch"]
        assert [it.path for it in noticed] == paths
        assert {codes.of(it) for it in noticed} <= {"IST0175"}


async def _foreseen(state: State, text: str) -> list[Problem]:
    (finding,) = check(text, "f.yaml")
    assert finding.resource is not None
    return list(await _analyst(state).foresee(finding.resource))


async def test_what_an_update_takes_from_others_is_foreseen() -> None:
    state = translated(MESH + SUBSETS % "v1").state
    assert await _foreseen(state, SUBSETS % "v1") == []
    (problem,) = await _foreseen(state, SUBSETS % "v2")
    assert (problem.ref, problem.reason) == ("VirtualService/shop/routes", "SubsetNotFound")


async def test_what_was_wrong_with_others_before_is_not_told() -> None:
    state = translated(MESH).state
    assert [problem.reason for problem in state.problems] == ["SubsetNotFound"]
    assert await _foreseen(state, SUBSETS % "v2") == []


async def test_an_analysis_is_made_once_a_state() -> None:
    states = [translated(MESH.replace("name: http", "name: web")).state, translated("").state]
    analyst = _analyst(states[0])
    first = await analyst.findings()
    assert [problem.reason for problem in first] == ["UnclearProtocol"]
    assert await analyst.findings() is first

    turns = iter([states[0], states[1]])
    analyst = Analyst(lambda: next(turns), lambda problem: problem)
    assert [len(await analyst.findings()) for _ in states] == [1, 0]


async def test_pods_without_their_proxy_are_noticed_too() -> None:
    text = """
        apiVersion: v1
        kind: Namespace
        metadata: {name: shop, labels: {istio-injection: enabled}}
        ---
        apiVersion: v1
        kind: Pod
        metadata: {name: a, namespace: shop, labels: {%s}}
        spec: {containers: [{name: app}]}
    """
    (found,) = await _analyst(translated(text % "").state).findings()
    assert (found.ref, found.reason) == ("Pod/shop/a", "MissingProxy")
    injected = translated(text % "security.istio.io/tlsMode: istio").state
    assert await _analyst(injected).findings() == ()
