"""A namespace moves to a second control plane and back, under load, and nobody notices."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.test_steady import none_failed
from tests.support import revision
from tests.support.kind_cluster import SYSTEM, Cluster
from tests.support.mesh_report import Report
from tests.support.steady import NAMESPACE, RATE, Steady

pytestmark = pytest.mark.timeout(900)
CANARY, TAG = "canary", "stable"


def revisions_of(steady: Steady) -> set[str]:
    return {pod["metadata"]["annotations"]["istio.io/rev"] for pod in steady.server_pods()}


def control_planes_of(cluster: Cluster, steady: Steady) -> set[bool]:
    """Tell, of every proxy of the server, whether it is connected to the second one's pods."""
    rows = json.loads(cluster.seinectl("proxy-status", "-o", "json", "-n", NAMESPACE))
    at = {row["proxy"]: row["replica"] for row in rows}
    names = [f"{pod['metadata']['name']}.{NAMESPACE}" for pod in steady.server_pods()]
    return {f"-{CANARY}-" in at[name] for name in names}


def errors(cluster: Cluster) -> list[str]:
    """Return what any control plane logs as an error."""
    return [
        line
        for pod in cluster.pods(SYSTEM)
        for line in cluster.logs(SYSTEM, f"pod/{pod['metadata']['name']}")
        if '"level": "error"' in line or '"level": "critical"' in line
    ]


@contextmanager
def tagged(cluster: Cluster) -> Iterator[None]:
    """Have a tag that stands for the second revision, and the namespace as it was at the end."""
    cluster.seinectl("tag", "set", TAG, "--revision", CANARY, "--overwrite")
    try:
        yield
    finally:
        as_before = ("istio-injection=enabled", "istio.io/rev-", "--overwrite")
        cluster.kubectl("label", "namespace", NAMESPACE, *as_before)
        cluster.seinectl("tag", "remove", TAG, "--yes")


def test_a_tag_moves_a_namespace_to_another_revision_and_back(
    cluster: Cluster, steady: Steady, report: Report, tmp_path: Path
) -> None:
    """The caller keeps the default revision's proxy, so every call is between the two."""
    with (
        report.step("a second revision"),
        revision.installed(cluster, CANARY, tmp_path),
        tagged(cluster),
    ):
        labels = ("istio-injection-", f"istio.io/rev={TAG}")
        there = steady.after(lambda: steady.move(*labels), more=5 * RATE)
        none_failed(there, "while a server moved to another revision", report)
        assert revisions_of(steady) == {CANARY}
        assert control_planes_of(cluster, steady) == {True}
        cluster.seinectl("tag", "set", TAG, "--revision", "default", "--overwrite")
        back = steady.after(steady.roll_out, more=5 * RATE)
        none_failed(back, "while it moved back", report)
        assert revisions_of(steady) == {"default"}
        assert control_planes_of(cluster, steady) == {False}
        assert errors(cluster) == []
    left = steady.after(lambda: None, more=5 * RATE)
    none_failed(left, "when the other revision was gone", report)
    cluster.seinectl("check")
