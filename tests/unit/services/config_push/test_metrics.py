"""Metrics under Istio's names: each moves when what it tells of happens."""

from pathlib import Path

from prometheus_client import REGISTRY

from libs.model.delta import Delta
from libs.model.mesh import Key, Table
from libs.runtime import build
from libs.xds.types import CLUSTER, ENDPOINT
from services.config_push import metrics
from tests.support.mesh import endpoints, mesh, port, service
from tests.support.push_plane import running_plane

WEB = service("web", port(80))


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_the_version_and_the_age_of_the_process() -> None:
    assert value("pilot_info", version=build.version()) == 1
    before = value("istiod_uptime_seconds")
    assert value("istiod_uptime_seconds") > before >= 0


def test_updates_are_counted_by_what_moved() -> None:
    sorts = ("svc", "svcdelete", "eds", "config")
    before = {sort: value("pilot_inbound_updates", type=sort) for sort in sorts}
    metrics.note_update(
        Delta(changed=frozenset({Key(Table.SERVICE, "a"), Key(Table.SERVICE, "b")}))
    )
    metrics.note_update(Delta(removed=frozenset({Key(Table.SERVICE, "a")})))
    metrics.note_update(
        Delta(changed=frozenset({Key(Table.ENDPOINTS, "a"), Key(Table.ROUTING, "r")}))
    )
    moved = {sort: value("pilot_inbound_updates", type=sort) - before[sort] for sort in sorts}
    assert moved == {"svc": 1, "svcdelete": 1, "eds": 1, "config": 1}


async def test_requests_and_the_wait_for_a_round_are_measured(tmp_path: Path) -> None:
    waits = value("pilot_debounce_time_count")
    metrics.note_request(1)
    async with running_plane(tmp_path) as running:
        running.change(mesh(WEB, endpoints(WEB, "10.0.0.1")))
        async with running.proxy() as proxy:
            names = [f"outbound|80||nobody-{number}" for number in range(300)]
            await proxy.send(
                proxy.client.subscribe(CLUSTER), proxy.client.subscribe(ENDPOINT, names)
            )
            await proxy.until(lambda client: bool(client.versions.get(ENDPOINT)))
    assert value("pilot_debounce_time_count") > waits
    assert value("pilot_xds_recv_max") >= len("outbound|80||nobody-0") * 300
