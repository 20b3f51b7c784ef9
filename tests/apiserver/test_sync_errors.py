"""What dashboards show of the API server: that it is followed, and that it does not answer."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from libs.api import reasons
from tests.support.control_plane_apps import running_apps
from tests.support.kube_discovery import on_cluster, subscribed
from tests.support.kube_machine import machine

pytestmark = pytest.mark.timeout(400)


def _errors() -> float:
    labels = {"type": "services", "cluster": "local"}
    return REGISTRY.get_sample_value("controller_sync_errors_total", labels) or 0.0


async def _until_more(before: float) -> None:
    """Return once the follower of services has counted, which nothing tells but the metric."""
    async with asyncio.timeout(120):
        while True:
            if _errors() > before:
                return
            await asyncio.sleep(0.05)


async def test_a_server_that_went_away_is_counted(tmp_path: Path) -> None:
    before = _errors()
    for name in ("kubernetes", "apps"):
        (tmp_path / name).mkdir()
    with machine(tmp_path / "kubernetes") as kubernetes:
        async with (
            running_apps(tmp_path / "apps") as apps,
            on_cluster(apps, kubernetes.server),
            subscribed(apps) as mesh,
        ):
            clusters = {"cluster_type": "local"}
            assert REGISTRY.get_sample_value("istiod_managed_clusters", clusters) == 1
            await asyncio.to_thread(kubernetes.stop_apiserver)
            await mesh.until(lambda: bool(mesh.texts(reasons.NOT_FOLLOWED)))
            await _until_more(before)
