import pytest

from libs.model.security import MtlsMode, PeerPolicy
from libs.proxy.peers import PeerPolicies
from tests.support import mesh as rows

APP = {"app": "web"}
UNSET, DISABLE, PERMISSIVE, STRICT = MtlsMode


def of(*policies: PeerPolicy, port: int | None = None, namespace: str = "shop") -> MtlsMode:
    return PeerPolicies(rows.mesh(*policies)).effective(namespace, APP, port)[0]


def mesh_wide(mode: MtlsMode, **fields: object) -> PeerPolicy:
    return rows.peer_policy("mesh", "istio-system", mode=mode, **fields)


def wide(mode: MtlsMode, name: str = "namespace", **fields: object) -> PeerPolicy:
    return rows.peer_policy(name, mode=mode, **fields)


def narrow(mode: MtlsMode, name: str = "workload", **fields: object) -> PeerPolicy:
    return rows.peer_policy(name, mode=mode, selector=APP, **fields)


def test_nothing_said_is_permissive() -> None:
    assert of() is PERMISSIVE
    assert of(mesh_wide(UNSET), wide(UNSET), narrow(UNSET)) is PERMISSIVE


def test_the_nearest_policy_wins() -> None:
    assert of(mesh_wide(STRICT)) is STRICT
    assert of(mesh_wide(STRICT), wide(DISABLE)) is DISABLE
    assert of(mesh_wide(STRICT), wide(DISABLE), narrow(PERMISSIVE)) is PERMISSIVE


def test_unset_inherits_from_the_wider_scope() -> None:
    assert of(mesh_wide(STRICT), wide(UNSET)) is STRICT
    assert of(mesh_wide(STRICT), wide(DISABLE), narrow(UNSET)) is DISABLE
    assert of(mesh_wide(DISABLE), wide(UNSET), narrow(UNSET)) is DISABLE


def test_only_the_oldest_of_a_scope_counts_even_if_it_says_nothing() -> None:
    assert of(wide(STRICT, "b", created=1), wide(DISABLE, "a", created=2)) is STRICT
    assert of(narrow(STRICT, "b", created=1), narrow(DISABLE, "a", created=2)) is STRICT
    assert of(wide(UNSET, "b", created=1), wide(DISABLE, "a", created=2)) is PERMISSIVE
    assert of(wide(STRICT, "b", created=1), wide(DISABLE, "a", created=1)) is DISABLE


def test_a_selector_in_the_root_namespace_selects_nothing() -> None:
    policy = rows.peer_policy("x", "istio-system", mode=STRICT, selector=APP, ports={80: STRICT})
    assert of(policy) is PERMISSIVE
    assert of(policy, namespace="istio-system", port=80) is PERMISSIVE


def test_policies_of_other_namespaces_and_workloads_do_not_count() -> None:
    elsewhere = rows.peer_policy("x", "bank", mode=STRICT)
    other = rows.peer_policy("y", mode=STRICT, selector={"app": "other"})
    assert of(elsewhere, other) is PERMISSIVE


@pytest.mark.parametrize(
    ("port", "mode"), [(80, DISABLE), (81, STRICT), (82, STRICT), (None, STRICT)]
)
def test_ports_of_a_workloads_policy(port: int | None, mode: MtlsMode) -> None:
    assert of(narrow(STRICT, ports={80: DISABLE, 81: UNSET}), port=port) is mode


def test_ports_count_only_with_a_selector() -> None:
    assert of(wide(STRICT, ports={80: DISABLE}), port=80) is STRICT


def test_a_port_that_says_nothing_inherits_all_the_way() -> None:
    assert of(mesh_wide(STRICT), narrow(UNSET, ports={80: UNSET}), port=80) is STRICT


def test_whoever_had_a_say_is_named() -> None:
    policies = PeerPolicies(
        rows.mesh(mesh_wide(STRICT), wide(UNSET), narrow(UNSET, ports={1: DISABLE}))
    )
    assert policies.effective("shop", APP, None)[1] == (
        "PeerAuthentication/shop/workload",
        "PeerAuthentication/shop/namespace",
        "PeerAuthentication/istio-system/mesh",
    )
    assert policies.effective("shop", APP, 1)[1] == ("PeerAuthentication/shop/workload",)
    assert policies.effective("bank", {}, None)[1] == ("PeerAuthentication/istio-system/mesh",)


def test_the_ports_that_a_policy_names() -> None:
    policies = PeerPolicies(rows.mesh(narrow(STRICT, ports={90: UNSET, 80: DISABLE})))
    assert policies.ports("shop", APP) == (80, 90)
    assert policies.ports("shop", {}) == ()
    assert policies.ports("bank", APP) == ()
