"""Sets of resources for the shared cache."""

from msgspec.structs import replace

from libs.model.ids import Ref
from libs.xds.types import CLUSTER, LISTENER, Conflict, Outcome, resource, resource_set
from services.config_push import stored


def test_a_set_comes_back_as_it_was() -> None:
    made = resource("a", CLUSTER, body=b"body", sources=[Ref("Service/shop/a")])
    outcome = Outcome(Ref("EnvoyFilter/shop/p"), 3, 1, "value: no")
    before = resource_set(CLUSTER, [made], (outcome,))
    assert stored.decode(CLUSTER, stored.encode(before)) == before


def test_who_lost_a_listener_comes_back_too() -> None:
    conflict = Conflict("10.96.0.1_80", Ref(""), Ref("Service/shop/a"), "a port of the proxy")
    before = replace(resource_set(LISTENER, ()), conflicts=(conflict,))
    assert stored.decode(LISTENER, stored.encode(before)) == before


def test_bytes_of_something_else_are_no_set() -> None:
    assert stored.decode(CLUSTER, b"x") is None
    assert stored.decode(CLUSTER, b"") is None
