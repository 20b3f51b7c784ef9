"""What the documents promise can be found in the tree."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("services/*/README.md")])
LINK = re.compile(r"\[[^\]]+\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def test_the_readme_shows_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "make demo" in text
    assert "make test" in text


@pytest.mark.parametrize("service", sorted(ROOT.glob("services/*/__main__.py")))
def test_every_service_explains_itself(service: Path) -> None:
    text = (service.parent / "README.md").read_text()
    assert len(text.splitlines()) > 5


@pytest.mark.parametrize("record", sorted(ROOT.glob("docs/adr/[0-9]*.md")), ids=lambda p: p.name)
def test_a_decision_has_context_and_cost(record: Path) -> None:
    text = record.read_text()
    assert all(f"## {part}" in text for part in ("Context", "Decision", "Cost"))


def test_no_drawer_rooms() -> None:
    drawers = {"common", "util", "utils", "helper", "helpers", "core", "manager", "base"}
    rooms = [path for top in ("libs", "services") for path in (ROOT / top).rglob("*.py")]
    assert not [path for path in rooms if drawers & {path.stem, *path.parent.parts[-2:]}]
