"""Nothing fails that need not: pods that start, pods that leave, a control plane that is away."""

import pytest

from tests.support.kind_cluster import SYSTEM, Cluster
from tests.support.mesh_report import Report
from tests.support.steady import RATE, Calls, Steady

pytestmark = pytest.mark.timeout(3600)


def none_failed(calls: Calls, what: str, report: Report) -> None:
    report.note(f"{what}: {calls.ok} calls answered, {len(calls.failed)} failed")
    assert calls.failed == ()


def test_the_first_calls_of_new_pods_are_answered(
    steady: Steady, report: Report, long: bool
) -> None:
    number = 100 if long else 8
    with report.step(f"first calls of {number} pods"):
        status = steady.first_calls(number, at_once=4, annotations={})
    assert (status.get("succeeded"), status.get("failed", 0)) == (number, 0), steady.said_first()


def test_webhooks_are_restarted_while_pods_are_made(
    cluster: Cluster, steady: Steady, report: Report, long: bool
) -> None:
    number = 40 if long else 8

    def restart() -> None:
        for _ in range(5 if long else 1):
            cluster.kubectl("-n", SYSTEM, "rollout", "restart", "deployment/seine-webhook")
            cluster.kubectl("-n", SYSTEM, "rollout", "status", "deployment/seine-webhook")

    with report.step(f"first calls of {number} pods while webhooks are restarted"):
        status = steady.first_calls(number, at_once=4, annotations={}, meanwhile=restart)
    assert (status.get("succeeded"), status.get("failed", 0)) == (number, 0), steady.said_first()
    assert steady.not_created() == []


def test_pods_are_replaced_and_nobody_notices(steady: Steady, report: Report, long: bool) -> None:
    def replace() -> None:
        for _ in range(10 if long else 1):
            steady.roll_out()
            steady.delete_one()

    with report.step("rollouts and deleted pods"):
        found = steady.after(replace, more=8 * RATE)
    none_failed(found, "while pods were replaced", report)


def test_traffic_goes_on_without_a_control_plane(
    cluster: Cluster, steady: Steady, report: Report, long: bool
) -> None:
    everything = ("deployment", "--all", "-n", SYSTEM)
    before = cluster.get("deployments", "-n", SYSTEM)["items"]

    def leave() -> None:
        cluster.kubectl("scale", *everything, "--replicas=0")
        cluster.kubectl("wait", "--for=delete", "pod", "--all", "-n", SYSTEM, "--timeout=180s")

    def come_back() -> None:
        for one in before:
            name, replicas = one["metadata"]["name"], one["spec"]["replicas"]
            cluster.kubectl("scale", "deployment", name, "-n", SYSTEM, f"--replicas={replicas}")
        cluster.kubectl("wait", "--for=condition=Available", "--timeout=300s", *everything)

    with report.step("without a control plane"):
        try:
            away = steady.after(leave, more=(60 if long else 5) * RATE)
        finally:
            back = steady.after(come_back, more=2 * RATE)
    none_failed(away, "while the control plane was away", report)
    none_failed(back, "while it came back", report)
