"""What made a pod, as its telemetry names it."""

import pytest

from libs.inject.owner import Owner, owner_of


def _pod(kind: str, name: str, version: str = "apps/v1", hash_label: str = "") -> dict[str, object]:
    labels = {"pod-template-hash": hash_label} if hash_label else {}
    one = {"kind": kind, "name": name, "apiVersion": version, "controller": True}
    return {"metadata": {"name": "x", "labels": labels, "ownerReferences": [one]}}


@pytest.mark.parametrize(
    ("pod", "owner"),
    [
        (_pod("ReplicaSet", "web-5d4", hash_label="5d4"), Owner("web", "Deployment", "apps/v1")),
        (_pod("ReplicaSet", "web-5d4"), Owner("web-5d4", "ReplicaSet", "apps/v1")),
        (_pod("StatefulSet", "db"), Owner("db", "StatefulSet", "apps/v1")),
        (_pod("Job", "n-28000000", "batch/v1"), Owner("n", "CronJob", "batch/v1")),
        (_pod("Job", "once", "batch/v1"), Owner("once", "Job", "batch/v1")),
        ({"metadata": {"name": "alone"}}, Owner("alone", "Pod", "v1")),
        ({"metadata": {"generateName": "made-"}}, Owner("made", "Pod", "v1")),
        ({}, Owner("", "Pod", "v1")),
    ],
)
def test_the_one_that_the_user_wrote(pod: dict[str, object], owner: Owner) -> None:
    assert owner_of(pod) == owner


def test_who_does_not_control_is_no_owner() -> None:
    one = {"kind": "Thing", "name": "t", "apiVersion": "v1"}
    assert owner_of({"metadata": {"name": "a", "ownerReferences": [one]}}).name == "a"
