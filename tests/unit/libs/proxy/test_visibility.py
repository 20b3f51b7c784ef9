import pytest

from libs.model.service import Resolution, Service
from libs.proxy.visibility import ServiceIndex, audience, concrete
from tests.support.mesh import service


def seen(namespace: str, *services: Service, default: tuple[str, ...] = ("*",)) -> dict[str, str]:
    index = ServiceIndex(services, default)
    return {host: found.namespace for host, found in index.seen_from(namespace).items()}


@pytest.mark.parametrize(
    ("export_to", "expected"),
    [
        ((), {"*"}),
        (("*", "shop"), {"*"}),
        (("~",), set()),
        (("~", "a"), set()),
        (("~", "*"), {"*"}),
        ((".",), {"shop"}),
        ((".", "shop", "a"), {"shop", "a"}),
    ],
)
def test_audience(export_to: tuple[str, ...], expected: set[str]) -> None:
    assert audience(export_to, ("*",), "shop") == expected


def test_the_meshs_default_holds_where_nothing_is_said() -> None:
    web = service("web")
    assert seen("other", web, default=(".",)) == {}
    assert seen("shop", web, default=(".",)) == {web.host: "shop"}


@pytest.mark.parametrize("reverse", [False, True])
def test_of_one_host_the_own_namespace_wins_then_kubernetes_then_the_oldest(
    reverse: bool,
) -> None:
    host = "api.example.com"
    rows = [
        service("old", namespace="a", host=host, registry="External", created=1),
        service("kube", namespace="b", host=host, created=9),
        service("own", namespace="c", host=host, registry="External", created=5),
    ]
    rows = rows[::-1] if reverse else rows
    assert seen("c", *rows) == {host: "c"}
    assert seen("x", *rows) == {host: "b"}
    assert seen("x", *[row for row in rows if row.namespace != "b"]) == {host: "a"}


def test_a_private_service_does_not_hide_a_public_one_from_others() -> None:
    host = "api.example.com"
    private = service("p", namespace="a", host=host, export_to=(".",), created=1)
    public = service("q", namespace="b", host=host, created=2)
    assert seen("a", private, public) == {host: "a"}
    assert seen("c", private, public) == {host: "b"}


def alias(name: str, of: str) -> Service:
    return service(name, resolution=Resolution.ALIAS, alias_of=of)


def test_aliases_are_followed_to_the_service_and_no_further() -> None:
    web = service("web")
    one, two = alias("one", web.host), alias("two", "one.shop.svc.cluster.local")
    rows = {row.host: row for row in (web, one, two)}
    assert concrete(rows, two) is web


def test_an_alias_that_leaves_the_mesh_or_runs_in_a_circle_stands_for_nothing() -> None:
    outside = alias("outside", "www.example.com")
    ring = [alias("a", "b.shop.svc.cluster.local"), alias("b", "a.shop.svc.cluster.local")]
    rows = {row.host: row for row in (outside, *ring)}
    assert concrete(rows, outside) is None
    assert concrete(rows, ring[0]) is None
