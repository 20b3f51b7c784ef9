from libs.model.service import Resolution
from libs.proxy.facts import FactTable
from tests.support.mesh import endpoints, mesh, service

WEB = service("web")
PODS = service("pods", resolution=Resolution.ORIGINAL)


def test_moving_endpoints_do_not_change_facts() -> None:
    table = FactTable()
    first = mesh(WEB, endpoints(WEB, "10.0.0.1"))
    before = table.update(first.endpoints, first.services)
    moved = mesh(endpoints(WEB, "10.0.0.2", "10.0.0.3"), before=first)
    assert table.update(moved.endpoints, moved.services) is before


def test_another_account_or_a_pod_without_sidecar_does() -> None:
    table = FactTable()
    first = mesh(WEB, endpoints(WEB, "10.0.0.1"))
    before = table.update(first.endpoints, first.services)
    other = mesh(endpoints(WEB, "10.0.0.1", service_account="x"), before=first)
    after = table.update(other.endpoints, other.services)
    assert after is not before
    assert after[WEB.key].accounts == (("shop", "x"),)
    plain = mesh(endpoints(WEB, "10.0.0.1", mtls=False), before=first)
    assert table.update(plain.endpoints, plain.services)[WEB.key].plaintext


def test_only_dialled_services_have_addresses() -> None:
    rows = mesh(WEB, PODS, endpoints(WEB, "10.0.0.1"), endpoints(PODS, "10.0.0.3", "10.0.0.2"))
    facts = FactTable().update(rows.endpoints, rows.services)
    assert facts[WEB.key].addresses == ()
    assert facts[PODS.key].addresses == ("10.0.0.2", "10.0.0.3")


def test_endpoints_of_no_service_say_nothing() -> None:
    rows = mesh(endpoints(WEB, "10.0.0.1"))
    assert FactTable().update(rows.endpoints, rows.services) == {}
