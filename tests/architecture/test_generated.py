"""What is generated and committed is what the generators give today."""

from pathlib import Path

import pytest

from tests.tools import admission, crds, protos, rbac, reference, revision

ROOT = Path(__file__).parents[2]


def test_proto_modules_are_current(tmp_path: Path) -> None:
    protos.generate(tmp_path)
    for path in sorted(tmp_path.rglob("*_pb2*")):
        committed = ROOT / path.relative_to(tmp_path)
        assert committed.exists(), f"{committed} is missing: run make protos"
        assert committed.read_text() == path.read_text(), f"{committed} is stale: run make protos"


@pytest.mark.timeout(900)  # every field of every kind is tried
def test_reference_pages_are_current() -> None:
    for page, text in reference.pages().items():
        assert (ROOT / page).read_text() == text, f"{page} is stale: run make docs"


def test_custom_resource_definitions_are_current() -> None:
    made = crds.files()
    for name, text in made.items():
        assert (ROOT / name).read_text() == text, f"{name} is stale: run make crds"
    committed = {str(path.relative_to(ROOT)) for path in (ROOT / crds.FOLDER).iterdir()}
    assert committed == set(made), "a kind is gone: run make crds"


def test_roles_are_current() -> None:
    assert (ROOT / rbac.FILE).read_text() == rbac.text(), "stale: run make rbac"


def test_the_overlay_of_a_revision_is_current() -> None:
    for name, text in revision.files(revision.EXAMPLE).items():
        assert (ROOT / name).read_text() == text, f"{name} is stale: run make revision"


def test_webhook_configurations_are_current() -> None:
    assert (ROOT / admission.FILE).read_text() == admission.text(), "stale: run make rbac"
