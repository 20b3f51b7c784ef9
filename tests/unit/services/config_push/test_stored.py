"""Sets of resources for the shared cache."""

from libs.model.ids import Ref
from libs.xds.types import CLUSTER, Outcome, resource, resource_set
from services.config_push import stored


def test_a_set_comes_back_as_it_was() -> None:
    made = resource("a", CLUSTER, body=b"body", sources=[Ref("Service/shop/a")])
    outcome = Outcome(Ref("EnvoyFilter/shop/p"), 3, 1, "value: no")
    before = resource_set(CLUSTER, [made], (outcome,))
    assert stored.decode(CLUSTER, stored.encode(before)) == before


def test_bytes_of_something_else_are_no_set() -> None:
    assert stored.decode(CLUSTER, b"x") is None
    assert stored.decode(CLUSTER, b"") is None
