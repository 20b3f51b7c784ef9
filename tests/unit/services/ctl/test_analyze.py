"""`seinectl analyze` as a person or a pipeline uses it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from services.ctl.analysis import analyze, parse

ROOT = Path(__file__).parents[4]
BROKEN = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: shop%s}
spec:
  hosts: [web]
  http:
  - route:
    - destination: {host: gone}
"""
UNNAMED = """
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: web, port: 80}]}
"""
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop}
spec: {containers: [{name: app}]}
status: {podIP: 10.1.0.1}
"""
RIVALS = """
---
apiVersion: v1
kind: Service
metadata: {name: one, namespace: shop, creationTimestamp: "1970-01-01T00:00:01Z"}
spec: {clusterIP: 10.0.0.7, ports: [{name: tcp, port: 90}]}
---
apiVersion: v1
kind: Service
metadata: {name: two, namespace: shop, creationTimestamp: "1970-01-01T00:00:02Z"}
spec: {clusterIP: 10.0.0.7, ports: [{name: tcp, port: 90}]}
"""
SUPPRESSED = ", annotations: {galley.istio.io/analyze-suppress: '%s'}"


def _run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.ctl", "analyze", *words]
    return subprocess.run(
        command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False
    )


def _codes(text: str, *suppressed: str) -> list[str]:
    return [it.code for it in analyze({"a.yaml": text}, map(parse, suppressed))]


def test_json_says_what_where_and_by_which_code() -> None:
    done = _run("-f", "-", "-o", "json", stdin=BROKEN % "" + UNNAMED)
    assert done.returncode == 1, done.stderr
    error, info = json.loads(done.stdout)
    assert error == {
        "code": "IST0101",
        "severity": "error",
        "ref": "VirtualService/shop/v",
        "path": "spec.http[0].route[0].destination.host",
        "file": "<stdin>",
        "line": 9,
        "reason": "HostNotFound",
        "text": "there is no service gone.shop.svc.cluster.local",
    }
    assert (info["code"], info["severity"], info["ref"]) == ("IST0118", "info", "Service/shop/web")


def test_without_errors_it_ends_well() -> None:
    done = _run("-f", "-", stdin=UNNAMED)
    assert done.returncode == 0, done.stderr
    assert "IST0118" in done.stdout
    assert "0 errors, 1 other finding" in done.stdout


def test_suppressed_by_flag_it_ends_well() -> None:
    done = _run("-f", "-", "-S", "IST0101=VirtualService shop/v", stdin=BROKEN % "" + UNNAMED)
    assert done.returncode == 0
    assert "IST0101" not in done.stdout


def test_what_validation_finds_is_there_too() -> None:
    assert _codes((BROKEN % "").replace("hosts: [web]", "hosts: [a b]")) == ["IST0106"]


@pytest.mark.parametrize(
    ("flag", "left"),
    [
        ("IST0101=VirtualService shop/v", ["IST0118"]),
        ("HostNotFound=VirtualService shop/v", ["IST0118"]),
        ("IST0101=VirtualService v.shop", ["IST0118"]),
        ("*=VirtualService shop/*", ["IST0118"]),
        ("IST0101=VirtualService other/v", ["IST0101", "IST0118"]),
        ("IST0101=Service shop/v", ["IST0101", "IST0118"]),
        ("IST0118=VirtualService shop/v", ["IST0101", "IST0118"]),
    ],
)
def test_a_flag_suppresses_what_it_names_and_no_more(flag: str, left: list[str]) -> None:
    assert _codes(BROKEN % "" + UNNAMED, flag) == left


@pytest.mark.parametrize(
    ("written", "left"),
    [("IST0101", []), ("IST0001, IST0101", []), ("*", []), ("IST0109", ["IST0101"])],
)
def test_an_annotation_suppresses_for_its_resource(written: str, left: list[str]) -> None:
    text = BROKEN % (SUPPRESSED % written) + UNNAMED
    assert _codes(text) == [*left, "IST0118"]


@pytest.mark.parametrize("written", ["IST0101", "IST0101=v", "=Service shop/v", "IST0101=A b c"])
def test_a_flag_of_another_form_is_refused(written: str) -> None:
    done = _run("-f", "-", "-S", written, stdin=UNNAMED)
    assert done.returncode == 2
    assert "CODE=KIND NAMESPACE/NAME" in done.stderr


def test_services_that_cannot_be_told_apart() -> None:
    found = [it for it in analyze({"a.yaml": POD + RIVALS}) if it.reason == "ListenerConflict"]
    assert [(it.ref, it.file, it.severity) for it in found] == [
        ("Service/shop/two", "a.yaml", "warning")
    ]
    apart = POD + RIVALS.replace("10.0.0.7", "10.0.0.8", 1)
    assert not analyze({"a.yaml": apart})


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop%s}
spec:
  template:
    metadata:
      annotations: {sidecar.istio.io/logLevel: loud}
    spec: {containers: [{name: app}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
"""


def test_what_is_odd_about_pods_is_told_with_its_place() -> None:
    invalid, alpha = [
        (it.code, it.severity, it.ref, it.line)
        for it in analyze({"a.yaml": DEPLOYMENT % ""}, [parse("IST0102=Namespace shop")])
    ]
    assert invalid == ("IST0125", "error", "Deployment/shop/web", 8)
    assert alpha == ("IST0136", "info", "Deployment/shop/web", 8)


def test_documents_that_the_mesh_does_not_read_may_suppress_too() -> None:
    text = DEPLOYMENT % (SUPPRESSED % "IST0125, IST0136")
    assert _codes(text) == ["IST0102"]
    assert _codes(text, "IST0102=Namespace shop") == []
    assert _codes(text, "IST0102=Namespace other") == ["IST0102"]


def test_what_is_wrong_with_a_pod_is_told_once() -> None:
    text = POD.replace("namespace: shop", "annotations: {proxy.istio.io/config: 'concurrency: a'}")
    assert _codes(text) == ["IST0125"]


def test_the_sample_has_no_errors() -> None:
    folder = ROOT / "examples" / "bookshop" / "manifests"
    texts = {str(path): path.read_text() for path in folder.glob("*.yaml")}
    assert [it for it in analyze(texts) if it.severity == "error"] == []


def test_without_files_and_without_a_mesh_it_says_so(tmp_path: Path) -> None:
    done = _run("--mesh", str(tmp_path / "none.json"))
    assert done.returncode == 2
