"""What dashboards ask of the mesh's tables: each gauge moves, and goes back when all is well."""

import sys
import time

import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY

from libs.api import reasons
from libs.api.problem import Problem
from libs.model.endpoint import Health
from libs.model.ids import Ref, service_key
from libs.model.service import Protocol, Resolution
from services.discovery.counting import Counting
from tests.support.mesh import endpoints, mesh, port, service, workload

WEB = service("web", port(80))
POD = workload("web-1", mtls=True)
WELL = mesh(WEB, POD, endpoints(WEB, "10.0.0.1", workload=POD.key))
TCP = port(5432, Protocol.TCP)
AGAIN = service("again", port(80))
BY_DNS = service("far", port(443), resolution=Resolution.DNS)
AS_ONE = (service("db", TCP, addresses=("10.1.1.1",)), service("pg", TCP, addresses=("10.1.1.1",)))
WRONG = {
    "pilot_eds_no_instances": mesh(service("empty", port(80)), before=WELL),
    "endpoint_no_pod": mesh(endpoints(WEB, "10.0.0.1"), before=WELL),
    "pilot_endpoint_not_ready": mesh(
        endpoints(WEB, "10.0.0.1", workload=POD.key, health=Health.UNHEALTHY), before=WELL
    ),
    "pilot_no_ip": mesh(workload("alone", mtls=True), before=WELL),
    "pilot_conflict_inbound_listener": mesh(
        AGAIN, endpoints(AGAIN, "10.0.0.1", workload=POD.key), before=WELL
    ),
    "pilot_conflict_outbound_listener_tcp_over_current_tcp": mesh(*AS_ONE, before=WELL),
    "pilot_dns_cluster_without_endpoints": mesh(BY_DNS, before=WELL),
}


def value(name: str) -> float:
    found = REGISTRY.get_sample_value(name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", WRONG)
def test_what_is_amiss_is_counted_until_it_is_mended(name: str) -> None:
    counting = Counting()
    counting.update(WELL, ())
    assert value(name) == 0
    counting.update(WRONG[name], ())
    assert value(name) == 1
    counting.update(WELL, ())
    assert value(name) == 0


def test_hosts_that_a_namespace_declares_twice() -> None:
    entry = replace(WEB, key=service_key("shop", WEB.host, "other"))
    counting = Counting()
    counting.update(mesh(entry, before=WELL), ())
    assert value("pilot_duplicate_envoy_clusters") == 1
    counting.update(WELL, ())
    assert value("pilot_duplicate_envoy_clusters") == 0


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("pilot_vservice_dup_domain", "VirtualService", reasons.CONFLICTING_HOST),
        ("pilot_destrule_subsets", "DestinationRule", reasons.DUPLICATE_SUBSET),
    ],
)
def test_what_problems_say_is_counted(name: str, kind: str, reason: str) -> None:
    counting = Counting()
    found = Problem(Ref(f"{kind}/shop/late"), "spec.hosts[0]", reason, "another is older")
    other = Problem(Ref("Gateway/shop/late"), "spec.hosts[0]", reason, "another is older")
    counting.update(WELL, (found, other))
    assert value(name) == 1
    counting.update(WELL, (other,))
    assert value(name) == 0


def test_a_change_costs_what_changed() -> None:
    """A thousand services of five endpoints; one of them moves."""
    services = [service(f"s{number}", port(80)) for number in range(1000)]
    full = mesh(*services, *(endpoints(it, *(f"10.0.0.{n}" for n in range(5))) for it in services))
    counting = Counting()
    counting.update(full, ())
    moved = mesh(endpoints(services[0], "10.0.0.9"), before=full)
    started = time.thread_time()
    counting.update(moved, ())
    sys.stdout.write(
        f"one change of 5,000 endpoints: {1e3 * (time.thread_time() - started):.1f} ms\n"
    )
    assert value("endpoint_no_pod") == 4996
