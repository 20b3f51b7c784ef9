from hypothesis import given, settings
from hypothesis import strategies as st

from libs.api.problem import Problem, Severity
from libs.model.settings import MeshSettings
from libs.translate.apply import Event, Remove, Upsert, apply, initial
from services.discovery.manifests import Manifests
from services.discovery.reading import Reading, read, unreadable
from tests.support.examples import examples

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: shop}
spec: {selector: {app: NAME}, ports: [{name: http, port: PORT}]}
"""
ROUTING = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: [web]
  http:
  - TIMEOUTroute:
    - destination:
        host: web
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
status: {podIP: 10.0.0.1, conditions: [{type: Ready, status: "True"}]}
"""


def service(name: str = "web", port: int = 80) -> str:
    return SERVICE.replace("NAME", name).replace("PORT", str(port))


def routing(timeout: str = "") -> str:
    return ROUTING.replace("TIMEOUT", f"timeout: {timeout}\n    " if timeout else "")


def documents(*texts: str) -> str:
    return "\n---\n".join(texts)


def take(manifests: Manifests, **files: str | None) -> list[Event]:
    readings: dict[str, Reading | None] = {
        name: None if text is None else read(name, text) for name, text in files.items()
    }
    return manifests.update(readings, 7.0)


def named(events: list[Event]) -> list[tuple[str, str]]:
    return [("+" if isinstance(it, Upsert) else "-", it.ref) for it in events]


def only(manifests: Manifests) -> Problem:
    (problem,) = manifests.problems()
    return problem


def test_a_file_comes_changes_and_goes() -> None:
    manifests = Manifests()
    events = take(manifests, a=documents(service(), routing()))
    assert named(events) == [("+", "Service/shop/web"), ("+", "VirtualService/shop/web")]
    assert {event.observed for event in events} == {7.0}
    assert named(take(manifests, a=documents(service(), routing("1s")))) == [
        ("+", "VirtualService/shop/web")
    ]
    assert take(manifests, a=documents(service(), "", routing("1s"))) == []
    assert named(take(manifests, a=service())) == [("-", "VirtualService/shop/web")]
    assert named(take(manifests, a=None)) == [("-", "Service/shop/web")]
    assert len(manifests) == 0


def test_a_bad_document_keeps_its_last_good_state_and_the_others_move() -> None:
    manifests = Manifests()
    take(manifests, a=documents(service(), routing("1s")))
    events = take(manifests, a=documents(service(port=81), routing("soon")))
    assert named(events) == [("+", "Service/shop/web")]
    problem = only(manifests)
    assert (problem.ref, problem.path) == ("VirtualService/shop/web", "spec.http[0].timeout")
    assert (problem.file, problem.severity) == ("a", Severity.ERROR)
    assert problem.line == documents(service(), routing("soon")).split("timeout")[0].count("\n") + 1

    assert named(take(manifests, a=documents(service(port=81), routing("2s")))) == [
        ("+", "VirtualService/shop/web")
    ]
    assert list(manifests.problems()) == []


def test_broken_yaml_that_does_not_say_whose_it_is_takes_nothing_down() -> None:
    manifests = Manifests()
    take(manifests, a=documents(service("a"), service("b"), service("c")))
    events = take(manifests, a=documents(service("a", 81), "{[", service("d")))
    assert named(events) == [("+", "Service/shop/a"), ("+", "Service/shop/d")]
    assert only(manifests).reason == "InvalidYaml"
    events = take(manifests, a=documents(service("a", 82), "{[", service("d")))
    assert named(events) == [("+", "Service/shop/a")]
    events = take(manifests, a=documents(service("a", 82)))
    assert sorted(named(events)) == [
        ("-", "Service/shop/b"),
        ("-", "Service/shop/c"),
        ("-", "Service/shop/d"),
    ]


def test_a_bad_document_that_never_was_good_is_not_there() -> None:
    manifests = Manifests()
    assert take(manifests, a=routing("soon")) == []
    assert only(manifests).reason == "InvalidDuration"


def test_the_first_of_two_documents_counts_and_the_second_is_a_problem() -> None:
    manifests = Manifests()
    take(manifests, b=service(port=81))
    events = take(manifests, c=documents(routing(), service(port=82)))
    assert named(events) == [("+", "VirtualService/shop/web")]
    problem = only(manifests)
    assert (problem.reason, problem.file, problem.line) == ("DuplicateResource", "c", 14)
    assert "b:2" in problem.text
    assert "c:14" in problem.text

    (event,) = take(manifests, b=None)
    assert isinstance(event, Upsert)
    assert event.resource.spec.ports[0].port == 82  # type: ignore[attr-defined]
    assert list(manifests.problems()) == []


def test_which_one_is_first_does_not_depend_on_when_it_came() -> None:
    manifests = Manifests()
    take(manifests, b=service(port=81))
    (event,) = take(manifests, a=service(port=80))
    assert isinstance(event, Upsert)
    assert event.resource.spec.ports[0].port == 80  # type: ignore[attr-defined]
    assert only(manifests).file == "b"


def test_twice_in_one_file() -> None:
    manifests = Manifests()
    (event,) = take(manifests, a=documents(service(port=80), service(port=81)))
    assert isinstance(event, Upsert)
    assert event.resource.spec.ports[0].port == 80  # type: ignore[attr-defined]
    assert only(manifests).reason == "DuplicateResource"


def test_a_resource_may_move_to_another_file() -> None:
    manifests = Manifests()
    take(manifests, a=service())
    assert take(manifests, a=None, b=service()) == []
    assert list(manifests.problems()) == []


def test_a_file_that_cannot_be_read_keeps_what_it_said() -> None:
    manifests = Manifests()
    take(manifests, a=service())
    assert manifests.update({"a": unreadable("a", "Permission denied")}, 0.0) == []
    problem = only(manifests)
    assert (problem.reason, problem.file) == ("UnreadableFile", "a")


def test_kinds_that_the_mesh_does_not_read_are_passed_over() -> None:
    manifests = Manifests()
    deployment = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}"
    assert take(manifests, a=documents(deployment, deployment)) == []
    assert list(manifests.problems()) == []


def test_problems_of_other_resources_are_placed_in_the_file() -> None:
    manifests = Manifests()
    step = apply(initial(MeshSettings()), take(manifests, a=routing()))
    (problem,) = step.problems
    placed = manifests.located(problem)
    assert (placed.file, placed.line) == ("a", routing().split("host: web")[0].count("\n") + 1)


def test_bad_settings_of_the_mesh_keep_the_last_good_ones() -> None:
    manifests = Manifests()
    config = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "trustDomain: example.org"}
"""
    assert named(take(manifests, a=config)) == [("+", "ConfigMap/istio-system/istio")]
    assert take(manifests, a=config.replace("example.org", "example..org")) == []
    assert only(manifests).path == "data.mesh.trustDomain"


def test_endpoints_are_made_of_pods_and_follow_them() -> None:
    manifests = Manifests()
    events = take(manifests, a=service(), b=POD)
    made = "EndpointSlice/shop/web-from-pods-0"
    assert named(events) == [("+", "Service/shop/web"), ("+", "Pod/shop/web-1"), ("+", made)]
    assert named(take(manifests, b=POD.replace("10.0.0.1", "10.0.0.2"))) == [
        ("+", "Pod/shop/web-1"),
        ("+", made),
    ]
    assert take(manifests, c=routing()) != []
    assert named(take(manifests, b=None)) == [("-", "Pod/shop/web-1"), ("-", made)]


def test_a_written_slice_takes_the_place_of_the_made_one() -> None:
    manifests = Manifests()
    take(manifests, a=service(), b=POD)
    own = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: own, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: []
"""
    made = "EndpointSlice/shop/web-from-pods-0"
    assert named(take(manifests, c=own)) == [("+", "EndpointSlice/shop/own"), ("-", made)]
    assert named(take(manifests, c=None)) == [("-", "EndpointSlice/shop/own"), ("+", made)]


TEXTS = [
    None,
    service(),
    service(port=81),
    documents(routing(), POD),
    documents(POD, service(), routing("1s")),
    documents(service("db"), service("db", 82)),
]
history = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(TEXTS)), max_size=20)


@settings(max_examples=examples(60), deadline=None)
@given(history)
def test_one_by_one_comes_to_the_same_as_all_at_once(
    changes: list[tuple[str, str | None]],
) -> None:
    manifests, state = Manifests(), initial(MeshSettings())
    for name, text in changes:
        state = apply(state, take(manifests, **{name: text})).state
    fresh = Manifests()
    final = {name: text for name, text in dict(changes).items() if text is not None}
    expected = apply(initial(MeshSettings()), take(fresh, **final)).state
    assert state.resources == expected.resources
    assert state.mesh.tables.keys() >= expected.mesh.tables.keys()
    assert sorted(manifests.problems()) == sorted(fresh.problems())


def test_removing_what_is_not_there_is_nothing() -> None:
    manifests = Manifests()
    assert take(manifests, a=None) == []
    assert not [it for it in take(manifests, a=service()) if isinstance(it, Remove)]
