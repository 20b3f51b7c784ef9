"""`seinectl check-inject`: which webhook is asked about a pod, and which rule decides."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from services.ctl.app import app
from services.ctl.check_inject import located

POD = "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop%s}, spec: {%s}}"
CONTAINERS = "containers: [{name: app, image: a}]"
SPACE = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {%s}}}"
POLICY = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector}
data: {config: "policy: disabled"}
"""


def _check(tmp_path: Path, *texts: str) -> dict[str, Any]:
    path = tmp_path / "in.yaml"
    path.write_text("\n---\n".join(texts))
    done = CliRunner().invoke(app, ["check-inject", "-f", str(path), "-o", "json"])
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    return dict(found)


@pytest.mark.parametrize(
    ("labels", "pod", "spec", "injected", "says"),
    [
        ("istio-injection: enabled", "", CONTAINERS, True, "Policy"),
        ("", "", CONTAINERS, False, "do not fit the objectSelector of"),
        ("istio-injection: disabled", "", CONTAINERS, False, "no namespaceSelector fits"),
        (
            "istio-injection: enabled",
            ", labels: {sidecar.istio.io/inject: 'false'}",
            CONTAINERS,
            False,
            "do not fit the objectSelector of",
        ),
        (
            "istio-injection: enabled",
            ", annotations: {sidecar.istio.io/inject: 'false'}",
            CONTAINERS,
            False,
            "PodAnnotation",
        ),
        (
            "istio-injection: enabled",
            "",
            f"hostNetwork: true, {CONTAINERS}",
            False,
            "HostNetwork",
        ),
        ("", ", labels: {sidecar.istio.io/inject: 'true'}", CONTAINERS, True, "PodLabel"),
    ],
)
def test_the_rule_that_decides_is_named(
    tmp_path: Path, labels: str, pod: str, spec: str, injected: bool, says: str
) -> None:
    found = _check(tmp_path, SPACE % labels, POD % (pod, spec))
    assert found["injected"] is injected
    assert says in found["text"]
    assert len(found["webhooks"]) == 5


def test_the_injector_s_own_policy_counts(tmp_path: Path) -> None:
    space = SPACE % "istio-injection: enabled"
    found = _check(tmp_path, POLICY, space, POD % ("", CONTAINERS))
    assert (found["injected"], found["rule"]) == (False, "Policy")


@pytest.mark.parametrize(
    ("space", "pod", "says"),
    [
        ("istio.io/rev: canry", "", "istio.io/rev=canry is heard by nobody"),
        ("", ", labels: {istio.io/rev: canry}", "istio.io/rev=canry is heard by nobody"),
        ("istio-injection: Enabled", "", "neither 'enabled' nor 'disabled'"),
        (
            "istio-injection: enabled",
            ", labels: {sidecar.istio.io/inject: 'false'}",
            "keeps the pod out of the mesh",
        ),
        (
            "istio-injection: disabled",
            ", labels: {sidecar.istio.io/inject: 'true'}",
            "counts for nothing in a namespace with istio-injection=disabled",
        ),
        ("istio.io/rev: default", "", ""),
        ("", ", labels: {istio.io/rev: default}", ""),
    ],
)
def test_who_asks_for_nobody_is_told(tmp_path: Path, space: str, pod: str, says: str) -> None:
    found = _check(tmp_path, SPACE % space, POD % (pod, CONTAINERS))
    assert found["injected"] is not bool(says)
    assert says in "".join(found["odd"])
    assert bool(found["odd"]) is bool(says)


def test_contradicting_labels_are_told(tmp_path: Path) -> None:
    space = SPACE % "istio-injection: enabled, istio.io/rev: canary"
    found = _check(tmp_path, space, POD % ("", CONTAINERS))
    assert "contradict" in found["odd"][0]


def test_the_table_is_for_people(tmp_path: Path) -> None:
    path = tmp_path / "in.yaml"
    path.write_text(POD % ("", CONTAINERS))
    done = CliRunner().invoke(app, ["check-inject", "-f", str(path)])
    assert "web.shop" in done.stdout
    assert "object.sidecar-injector.istio.io" in done.stdout


def test_either_a_pod_or_a_file() -> None:
    assert CliRunner().invoke(app, ["check-inject"]).exit_code == 2
    assert CliRunner().invoke(app, ["check-inject", "a.b", "-f", "c"]).exit_code == 2


def test_names_lead_to_paths() -> None:
    assert located("web.shop") == ("/api/v1/namespaces/shop/pods/web", "web", "shop")
    assert located("Deployment/web")[0] == "/apis/apps/v1/namespaces/default/deployments/web"
    with pytest.raises(SystemExit):
        located("gadget/web")
