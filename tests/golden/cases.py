"""Golden cases: manifests in, Envoy's configuration out, one folder a feature.

`in.yaml` begins with a document of its own that says which proxies to render and what of it to
keep; ordinary manifests follow. `out.yaml` is never written by hand: `make golden` writes it, and
removes those whose `in.yaml` is gone.

    proxies: [client.shop]         # or {client.shop: {INTERCEPTION_MODE: NONE}}: node metadata
    show: {routes: ["80"]}         # by kind, patterns of names
    access_logs: true              # they are left out where they are not the point
"""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from services.ctl.render import Rendering, as_json, generated

ROOT = Path(__file__).parent
_HEADER = "# Written by `make golden` from in.yaml. Read the difference before committing it.\n"


class Case(Struct, frozen=True, dict=True):
    """One folder."""

    folder: Path

    @property
    def name(self) -> str:
        """The feature."""
        return self.folder.name

    @property
    def expected(self) -> Path:
        """Where the expected output is."""
        return self.folder / "out.yaml"

    @cached_property
    def _text(self) -> tuple[str, str]:
        header, _, manifests = (self.folder / "in.yaml").read_text().partition("\n---\n")
        return header, manifests

    @cached_property
    def _wanted(self) -> Mapping[str, Any]:
        wanted: Mapping[str, Any] = yaml.safe_load(self._text[0])
        return wanted

    @property
    def manifests(self) -> Mapping[str, str]:
        """The manifests, as a folder of files; lines have the numbers that they have in in.yaml."""
        header, manifests = self._text
        return {"in.yaml": "\n" * (header.count("\n") + 2) + manifests}

    @property
    def proxies(self) -> Mapping[str, Mapping[str, object]]:
        """Node metadata by proxy."""
        wanted = self._wanted["proxies"]
        return wanted if isinstance(wanted, Mapping) else {proxy: {} for proxy in wanted}

    def rendered(self) -> Iterator[tuple[str, Rendering]]:
        """Yield each proxy with everything that it gets."""
        for proxy, metadata in self.proxies.items():
            yield proxy, generated(self.manifests, proxy, metadata)

    def output(self) -> str:
        """Return what `out.yaml` should hold."""
        shown = {proxy: self._shown(as_json(whole)) for proxy, whole in self.rendered()}
        return _HEADER + yaml.dump(shown, Dumper=_Dumper, sort_keys=False, width=100)

    def _shown(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        wanted: Mapping[str, list[str]] = self._wanted["show"]
        hidden = set() if self._wanted.get("access_logs") else {"access_log"}
        kept: dict[str, Any] = {}
        for kind, patterns in wanted.items():
            found = [one for one in whole[kind] if _matches(name_of(one), patterns)]
            kept[kind] = {name_of(one): _without(_nameless(one), hidden) for one in found}
        names = {name for kind in kept.values() for name in kind}
        kept["sources"] = {name: refs for name, refs in whole["sources"].items() if name in names}
        if whole["problems"]:
            kept["problems"] = whole["problems"]
        return kept


def every() -> list[Case]:
    """Return all cases by name."""
    return [Case(found.parent) for found in sorted(ROOT.glob("*/in.yaml"))]


def name_of(resource: Mapping[str, Any]) -> str:
    """Return the name of a rendered resource."""
    return str(resource.get("name") or resource.get("cluster_name"))


def _nameless(resource: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in resource.items() if key not in {"name", "cluster_name"}}


def _without(value: object, hidden: set[str]) -> object:
    if isinstance(value, Mapping):
        return {key: _without(item, hidden) for key, item in value.items() if key not in hidden}
    return [_without(item, hidden) for item in value] if isinstance(value, list) else value


def _matches(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class _Dumper(yaml.SafeDumper):
    """Lists stand in from their key, and nothing is written once and referred to."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True
