"""`seinectl validate` as a person or a pipeline uses it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
SAMPLE = ROOT / "examples" / "bookshop" / "manifests"
GOOD = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
"""
BAD = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: other, namespace: shop}
spec: {mtls: {mode: STRICTER}}
"""


def _validate(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.ctl", "validate", *words]
    return subprocess.run(
        command, cwd=ROOT, input=stdin, capture_output=True, text=True, check=False
    )


def test_the_sample_is_valid() -> None:
    done = _validate("-f", str(SAMPLE))
    assert done.returncode == 0, done.stdout
    assert "0 errors, 0 warnings" in done.stdout


def test_json_has_an_entry_for_each_document(tmp_path: Path) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(f"{GOOD}---{BAD}")
    done = _validate("-f", str(file), "-o", "json")
    assert done.returncode == 1
    first, second = json.loads(done.stdout)
    assert first == {
        "file": str(file),
        "document": 0,
        "kind": "PeerAuthentication",
        "name": "default",
        "namespace": "shop",
        "errors": [],
        "warnings": [],
    }
    assert (second["document"], second["name"]) == (1, "other")
    (error,) = second["errors"]
    assert set(error) == {"path", "reason", "text"}
    assert (error["path"], error["reason"]) == ("spec.mtls.mode", "InvalidChoice")


def test_standard_input_and_several_files(tmp_path: Path) -> None:
    assert _validate("-f", "-", stdin=GOOD).returncode == 0
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    done = _validate("-f", "-", str(file), "-o", "json", stdin=GOOD)
    assert done.returncode == 1
    assert [entry["name"] for entry in json.loads(done.stdout)] == ["default", "other"]


def test_a_resource_written_twice_is_an_error(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(GOOD)
    done = _validate("-f", str(tmp_path), "-o", "json")
    assert done.returncode == 1
    first, second = json.loads(done.stdout)
    assert not first["errors"]
    assert second["errors"][0]["reason"] == "DuplicateResource"


def test_a_reference_that_leads_nowhere_is_a_warning_if_services_are_there(tmp_path: Path) -> None:
    for path in SAMPLE.iterdir():
        (tmp_path / path.name).write_text(path.read_text().replace("subset: v3", "subset: v9"))
    done = _validate("-f", str(tmp_path), "-o", "json")
    assert done.returncode == 0
    warnings = [warning for entry in json.loads(done.stdout) for warning in entry["warnings"]]
    assert [warning["reason"] for warning in warnings] == ["SubsetNotFound"]
    alone = _validate("-f", str(tmp_path / "reviews-weights.yaml"), "-o", "json")
    assert all(not entry["warnings"] for entry in json.loads(alone.stdout))


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, "a: [", "{", "\x00", "a: &a [*a]", "- 1", "x" * (2 * 1024 * 1024)],
    ids=["deep", "open", "brace", "zero", "alias", "list", "long"],
)
def test_hostile_text_is_an_error_and_nothing_worse(tmp_path: Path, text: str) -> None:
    file = tmp_path / "hostile.yaml"
    file.write_text(text)
    done = _validate("-f", str(file), "-o", "json")
    assert done.returncode == 1, done.stderr
    assert any(entry["errors"] for entry in json.loads(done.stdout))


def test_what_cannot_be_done_says_what_to_do() -> None:
    assert "validate -f" in _validate().stderr
    missing = _validate("-f", "/nowhere.yaml")
    assert missing.returncode == 2
    assert "no such file" in missing.stderr


PATCH = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: slow, namespace: shop}
spec:
  priority: 1
  configPatches:
    - applyTo: CLUSTER
      patch:
        operation: MERGE
        value: {connect_timeout: %s}
"""


def test_what_a_patch_holds_is_judged() -> None:
    good = _validate("-f", "-", stdin=PATCH % "1m")
    assert good.returncode == 0, good.stdout
    bad = _validate("-f", "-", stdin=PATCH % "soon")
    assert bad.returncode == 1
    assert "PatchMisfit" in bad.stdout
