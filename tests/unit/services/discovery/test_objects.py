import json
from typing import Any

from msgspec import Raw

from libs.api import reasons
from libs.api.registry import BY_NAME, NETWORKING
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.translate.apply import Remove, Upsert
from services.discovery.objects import Found, Objects

SERVICE = BY_NAME["", "Service"]
ROUTES = BY_NAME[NETWORKING, "VirtualService"]


def _read(kind: Any, body: object, name: str = "web") -> Found:  # noqa: ANN401
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    change = Change(Name("shop", name), Raw(raw))
    (found,) = Objects().read(kind, [change], 7.0)
    return found


def _object(**spec: object) -> dict[str, object]:
    """As it is in a list, which does not repeat the kind."""
    metadata = {"name": "web", "namespace": "shop", "resourceVersion": "9", "generation": 2}
    return {"metadata": metadata, "spec": spec}


def test_an_object_of_kubernetes_is_an_event() -> None:
    found = _read(SERVICE, _object(ports=[{"port": 80, "name": "http"}]))
    assert isinstance(found.event, Upsert)
    assert found.ref == found.event.ref == "Service/shop/web"
    assert found.event.observed == 7.0
    assert found.problems == ()


def test_an_object_of_istio_is_checked_like_a_manifest() -> None:
    found = _read(ROUTES, _object(hosts=["web"], http=[{"rout": []}]))
    assert found.event is None
    assert {it.reason for it in found.problems} == {reasons.UNKNOWN_FIELD}
    assert found.problems[0].path.startswith("spec.http[0].rout")


def test_a_write_of_a_status_is_no_change() -> None:
    route = {"destination": {"host": "web"}}
    body = _object(hosts=["web"], http=[{"route": [route]}])
    before = _read(ROUTES, body)
    body["status"] = {"conditions": []}
    body["metadata"]["resourceVersion"] = "10"  # type: ignore[index]
    assert _read(ROUTES, body).event == before.event
    assert isinstance(before.event, Upsert)
    assert before.event.resource.metadata.generation == 2


def test_what_has_gone_is_removed() -> None:
    (found,) = Objects().read(SERVICE, [Change(Name("shop", "web"), None)], 1.0)
    assert found == Found(found.ref, Remove(found.ref, 1.0))
    assert found.ref == "Service/shop/web"


def test_what_the_fast_way_cannot_read_the_careful_way_explains() -> None:
    found = _read(SERVICE, _object(ports=[{"port": "many"}]))
    assert found.event is None
    assert {it.reason for it in found.problems} == {reasons.WRONG_TYPE}


def test_what_nobody_can_read_is_a_problem() -> None:
    deep = b'{"metadata": {"name": "web"}, "spec": {"http": ' + b"[" * 5000 + b"]" * 5000 + b"}}"
    found = _read(ROUTES, deep)
    assert found.event is None
    assert found.problems
