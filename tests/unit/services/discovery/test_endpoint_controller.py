from hypothesis import given, settings
from hypothesis import strategies as st

from libs.api.resource import Resource
from libs.model.ids import Ref
from libs.translate.apply import Upsert
from libs.translate.synthesis import slices
from services.discovery.endpoint_controller import Change, EndpointController
from tests.support.examples import examples
from tests.support.resources import resources


def _service(name: str, selector: str) -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{{selector}}}, ports: [{{name: http, port: 80, targetPort: web}}]}}
"""


def _pod(name: str, labels: str, port: int, ip: str = "10.0.0.1") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{{labels}}}}}
spec: {{containers: [{{ports: [{{name: web, containerPort: {port}}}]}}]}}
status: {{podIP: {ip}, conditions: [{{type: Ready, status: "True"}}]}}
"""


def _slice(name: str, service: str) -> str:
    return f"""
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
endpoints: []
"""


SELECTORS = ("", "app: a", "app: b", "app: a, tier: x", "tier: x")
LABELS = ("app: a", "app: b", "app: a, tier: x", "tier: x", "")
POOL = [
    *(_service(name, selector) for name in "st" for selector in SELECTORS),
    *(_pod(name, labels, port) for name in "pqr" for labels in LABELS for port in (8080, 9090)),
    *(_slice(name, service) for name in "kl" for service in "st"),
]
RESOURCES: list[Resource] = [resource for text in POOL for resource in resources(text)]
steps = st.lists(st.tuples(st.sampled_from(RESOURCES), st.booleans()), max_size=40)


@settings(max_examples=examples(100), deadline=None)
@given(steps)
def test_change_by_change_it_makes_what_one_look_at_everything_would(
    history: list[tuple[Resource, bool]],
) -> None:
    controller = EndpointController()
    there: dict[Ref, Resource] = {}
    made: dict[Ref, object] = {}
    for resource, stays in history:
        before, after = there.get(resource.ref), resource if stays else None
        there[resource.ref] = resource
        if after is None:
            del there[resource.ref]
        for event in controller.update([Change(before, after)], 1.0):
            if isinstance(event, Upsert):
                made[event.ref] = event.resource
            else:
                del made[event.ref]
        assert made == {piece.ref: piece for piece in slices(there.values())}


def test_what_does_not_change_a_slice_is_no_event() -> None:
    controller = EndpointController()
    found = resources("---".join([_service("s", "app: a"), _pod("p", "app: a", 80)]))
    assert len(controller.update([Change(None, it) for it in found], 1.0)) == 1
    (other,) = resources(_pod("q", "app: b", 80))
    assert controller.update([Change(None, other)], 1.0) == []
    assert controller.update([Change(found[1], found[1])], 1.0) == []


def test_namespaces_do_not_mix() -> None:
    controller = EndpointController()
    (service,) = resources(_service("s", "app: a"))
    (pod,) = resources(_pod("p", "app: a", 80).replace("namespace: shop", "namespace: other"))
    assert controller.update([Change(None, service), Change(None, pod)], 1.0) == []
