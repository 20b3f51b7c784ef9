from hypothesis import given, settings
from hypothesis import strategies as st

from libs.api.resource import Resource
from libs.model.ids import Ref
from libs.model.mesh import Key, Mesh, Table
from libs.model.settings import MeshSettings
from libs.translate.apply import Event, Remove, State, Upsert, apply, initial
from tests.support.examples import examples
from tests.support.resources import resources, translated, upserted

NAMES = ("a", "b", "c")


def _service(name: str, variant: int) -> str:
    spec = (
        "{clusterIP: 10.0.0.1, selector: {app: x}, ports: [{name: http, port: 80}]}",
        "{clusterIP: None, ports: [{name: http, port: 80}, {name: tcp, port: 81}]}",
        "{type: ExternalName, externalName: a.ns.svc.cluster.local, ports: [{port: 80}]}",
    )[variant]
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: ns}}\nspec: {spec}"


def _pod(name: str, variant: int) -> str:
    ready, ip, phase = (
        ("True", "10.1.0.1", "Running"),
        ("False", "10.1.0.1", "Running"),
        ("True", "10.1.0.2", "Failed"),
    )[variant]
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: ns, labels: {{app: x}}}}
spec: {{nodeName: {name}}}
status: {{podIP: {ip}, phase: {phase}, conditions: [{{type: Ready, status: "{ready}"}}]}}
"""


def _node(name: str, variant: int) -> str:
    return f"""
apiVersion: v1
kind: Node
metadata: {{name: {name}, labels: {{topology.kubernetes.io/region: r{variant}}}}}
"""


def _slice(name: str, variant: int) -> str:
    service = NAMES[variant]
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: ns, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080}}]
endpoints:
- {{addresses: [10.1.0.1], targetRef: {{kind: Pod, name: {NAMES[variant - 1]}, namespace: ns}}}}
- {{addresses: [10.1.0.2], conditions: {{ready: {str(variant == 0).lower()}}}}}
"""


def _routing(name: str, variant: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: ns, creationTimestamp: "1970-01-01T00:00:0{variant}Z"}}
spec:
  hosts: [a, b]
  http: [{{route: [{{destination: {{host: {NAMES[variant]}, subset: v{variant}}}}}]}}]
"""


def _delegating(name: str, variant: int) -> str:
    spec = (
        f"{{hosts: [d-{name}], http: [{{delegate: {{name: r-b}}}}, {{delegate: {{name: r-c}}}}]}}",
        "{http: [{match: [{uri: {prefix: /}}], route: [{destination: {host: a}}]}]}",
        "{exportTo: [other], http: [{route: [{destination: {host: b}}]}]}",
    )[variant]
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: r-{name}, namespace: ns}}
spec: {spec}
"""


def _rule(name: str, variant: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: ns}}
spec:
  host: {("a", "'*.ns.svc.cluster.local'", "c")[variant]}
  trafficPolicy: {{loadBalancer: {{simple: RANDOM}}}}
  subsets: [{{name: v{variant}, labels: {{v: x}}}}]
"""


def _peer(name: str, variant: int) -> str:
    selector = ", selector: {matchLabels: {app: x}}" if variant == 2 else ""
    mode = ("STRICT", "PERMISSIVE", "DISABLE")[variant]
    return f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: {name}, namespace: ns}}
spec: {{mtls: {{mode: {mode}}}{selector}}}
"""


def _entry(name: str, variant: int) -> str:
    spec = (
        "{hosts: [x.example.com], resolution: DNS, ports: [{number: 80, name: http}]}",
        (
            "{hosts: [x.example.com, y.example.com], resolution: STATIC,"
            " workloadSelector: {labels: {app: x}}, ports: [{number: 80, name: http}]}"
        ),
        (
            "{hosts: [a.ns.svc.cluster.local], resolution: STATIC,"
            " endpoints: [{address: 10.9.9.9}], ports: [{number: 80, name: http}]}"
        ),
    )[variant]
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: ns, creationTimestamp: "1970-01-01T00:00:0{variant}Z"}}
spec: {spec}
"""


def _machine(name: str, variant: int) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}, namespace: ns}}
spec: {{address: 10.2.0.{variant}, labels: {{app: {"xxz"[variant]}}}}}
"""


def _sidecar(name: str, variant: int) -> str:
    spec = (
        '{egress: [{hosts: ["./*"]}]}',
        "{outboundTrafficPolicy: {mode: ALLOW_ANY}}",
        (
            "{ingress: [{port: {number: 80, protocol: HTTPS, name: x},"
            " defaultEndpoint: '127.0.0.1:80',"
            " tls: {mode: SIMPLE, serverCertificate: c, privateKey: k}}]}"
        ),
    )[variant]
    return f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {name}, namespace: ns}}
spec: {spec}
"""


def _config(_: str, variant: int) -> str:
    return f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "trustDomain: td{variant}"}}
"""


def _namespace(_: str, variant: int) -> str:
    return f"""
apiVersion: v1
kind: Namespace
metadata: {{name: istio-system, labels: {{topology.istio.io/network: n{variant}}}}}
"""


MAKERS = (
    _service,
    _pod,
    _node,
    _slice,
    _routing,
    _delegating,
    _rule,
    _peer,
    _entry,
    _machine,
    _sidecar,
    _config,
    _namespace,
)
POOL: list[Resource] = [
    resource
    for maker in MAKERS
    for name in NAMES
    for variant in range(3)
    for resource in resources(maker(name, variant))
]
any_resource = st.sampled_from(POOL)
events = st.one_of(any_resource.map(Upsert), any_resource.map(lambda it: Remove(it.ref)))
windows = st.lists(st.lists(events, min_size=1, max_size=4), min_size=1, max_size=30)


def contents(mesh: Mesh) -> dict[Key, object]:
    return {Key(table, key): row for table in Table for key, row in mesh.rows(table).items()}


def fresh(found: dict[Ref, Resource]) -> State:
    return upserted(found.values()).state


def apply_to(found: dict[Ref, Resource], window: list[Event]) -> None:
    for event in window:
        found.pop(event.ref, None)
        if isinstance(event, Upsert):
            found[event.ref] = event.resource


@settings(max_examples=examples(80), deadline=None)
@given(windows)
def test_step_by_step_comes_to_the_same_as_all_at_once(history: list[list[Event]]) -> None:
    state = initial(MeshSettings())
    found: dict[Ref, Resource] = {}
    for window in history:
        before = contents(state.mesh)
        step = apply(state, window)
        assert contents(state.mesh) == before
        apply_to(found, window)
        expected = fresh(found)
        assert contents(step.state.mesh) == contents(expected.mesh)
        assert step.problems == expected.problems
        assert step.state.groups == expected.groups
        assert step.state.readers == expected.readers
        assert step.state.records == expected.records
        state = step.state


@settings(max_examples=examples(80), deadline=None)
@given(windows)
def test_a_delta_is_exactly_what_moved(history: list[list[Event]]) -> None:
    state = initial(MeshSettings())
    for window in history:
        before = contents(state.mesh)
        state, delta, _ = apply(state, window)
        after = contents(state.mesh)
        assert delta.removed == before.keys() - after.keys()
        assert delta.changed == {key for key in after if before.get(key) != after[key]}
        assert set(delta.causes) <= {event.ref for event in window}
        assert bool(delta) == bool(delta.causes)


@settings(max_examples=examples(40), deadline=None)
@given(st.lists(any_resource, unique_by=lambda it: it.ref), st.randoms(use_true_random=False))
def test_the_order_of_resources_does_not_matter(found: list[Resource], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = upserted(found), upserted(shuffled)
    assert contents(first.state.mesh) == contents(second.state.mesh)
    assert first.problems == second.problems


def test_a_change_says_when_its_first_cause_was_seen_and_what_moved_a_row() -> None:
    service, account = resources(
        _service("a", 0) + "\n---\n{apiVersion: v1, kind: ServiceAccount, metadata: {name: x}}"
    )
    (node,) = resources(_node("a", 0))
    step = apply(
        initial(MeshSettings()), [Upsert(account, 1.0), Upsert(node, 2.0), Upsert(service, 3.0)]
    )
    assert step.delta.causes == ("Service/ns/a",)
    assert step.delta.observed == 3.0


def test_a_change_says_which_state_of_its_causes_it_was() -> None:
    (service,) = resources(_service("a", 0).replace("metadata: {", "metadata: {generation: 3, "))
    step = apply(initial(MeshSettings()), [Upsert(service)])
    assert (step.delta.causes, step.delta.generations) == (("Service/ns/a",), (3,))
    gone = apply(step.state, [Remove(service.ref)])
    assert (gone.delta.causes, gone.delta.generations) == (("Service/ns/a",), (0,))


def test_a_cause_behind_a_cause_is_named() -> None:
    before = translated(
        "\n---\n".join([_service("b", 0), _pod("a", 0), _slice("s", 1), _node("a", 0)])
    ).state
    step = translated(_node("a", 1), before)
    assert {key.table for key in step.delta.keys} == {Table.WORKLOAD, Table.ENDPOINTS}
    assert step.delta.causes == ("Node//a",)


def test_there_and_back_in_one_window_is_no_change() -> None:
    before = translated(_service("a", 0)).state
    (other,) = resources(_service("a", 1))
    (same,) = resources(_service("a", 0))
    assert not apply(before, [Upsert(other), Upsert(same)]).delta
    assert not apply(before, [Remove(same.ref), Upsert(same)]).delta
    assert not apply(before, [Upsert(resources(_node("q", 0))[0])]).delta
