import pytest

from libs.model.ids import SpiffeId
from services.ca.names import dns_names

SYSTEM = "istio-system"


@pytest.mark.parametrize(
    ("namespace", "account", "names"),
    [
        (SYSTEM, "seine-ca", ("seine-ca.istio-system.svc",)),
        (
            SYSTEM,
            "seine-config-push",
            ("seine-config-push.istio-system.svc", "istiod.istio-system.svc"),
        ),
        (SYSTEM, "default", ()),
        (SYSTEM, "istiod", ()),
        (SYSTEM, "localhost", ()),
        (SYSTEM, "seine-", ()),
        (SYSTEM, "seine-a.b", ()),
        (SYSTEM, "seine-A", ()),
        (SYSTEM, "seine-" + "a" * 60, ()),
        ("shop", "seine-ca", ()),
        ("istio-system-2", "seine-ca", ()),
    ],
)
def test_only_the_control_planes_own_accounts_have_names(
    namespace: str, account: str, names: tuple[str, ...]
) -> None:
    assert dns_names(SpiffeId("cluster.local", namespace, account), SYSTEM) == names


def test_services_of_a_revision_have_its_names_too_and_nobody_else_does() -> None:
    push = SpiffeId("cluster.local", SYSTEM, "seine-config-push")
    assert dns_names(push, SYSTEM, "canary") == (
        "seine-config-push.istio-system.svc",
        "istiod.istio-system.svc",
        "seine-config-push-canary.istio-system.svc",
        "istiod-canary.istio-system.svc",
    )
    assert dns_names(SpiffeId("cluster.local", SYSTEM, "default"), SYSTEM, "canary") == ()
    assert dns_names(SpiffeId("cluster.local", "shop", "seine-ca"), SYSTEM, "canary") == ()
