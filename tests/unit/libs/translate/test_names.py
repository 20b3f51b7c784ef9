import pytest

from libs.model.settings import MeshSettings
from libs.translate.names import Names

NAMES = Names("shop", MeshSettings(cluster_domain="cluster.example"))


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("web", "web.shop.svc.cluster.example"),
        ("Web", "web.shop.svc.cluster.example"),
        ("web.other", "web.other"),
        ("*", "*"),
        ("*.example.com", "*.example.com"),
    ],
)
def test_hosts(written: str, full: str) -> None:
    assert NAMES.host(written) == full


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("mesh", "mesh"),
        ("front", "shop/front"),
        ("./front", "shop/front"),
        ("other/front", "other/front"),
        ("front.other", "other/front"),
        ("front.other.svc.cluster.local", "other/front"),
    ],
)
def test_gateways(written: str, full: str) -> None:
    assert NAMES.gateway(written) == full


def test_each_name_stands_once_in_the_order_in_which_it_was_written() -> None:
    assert NAMES.hosts(["b", "a", "b.shop.svc.cluster.example"]) == (
        "b.shop.svc.cluster.example",
        "a.shop.svc.cluster.example",
    )
