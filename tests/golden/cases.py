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
from google.protobuf.message import Message
from msgspec import Struct

from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from libs.xds import readable
from libs.xds.types import NAME_TABLE
from services.ctl.render import KINDS, Rendering, as_json, generated

ROOT = Path(__file__).parent
_MESSAGES: Mapping[str, type[Message]] = {**dict(KINDS.values()), NAME_TABLE: NameTable}
_KEYS = {**{type_url: key for key, (type_url, _) in KINDS.items()}, NAME_TABLE: "names"}
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
        shown = {
            proxy: self._shown({**as_json(whole), "names": _names(whole)})
            for proxy, whole in self.rendered()
        }
        return _HEADER + yaml.dump(shown, Dumper=Dumper, sort_keys=False, width=100)

    def reviewed(self, type_url: str, name: str, body: bytes) -> object:
        """Return what `out.yaml` has of a resource; None if it does not show it."""
        kind = _KEYS.get(type_url)
        if kind is None or not _matches(name, self._wanted["show"].get(kind, [])):
            return None
        return _without(as_read(type_url, body), self._hidden)

    @property
    def _hidden(self) -> set[str]:
        return set() if self._wanted.get("access_logs") else {"access_log"}

    def _shown(self, whole: Mapping[str, Any]) -> dict[str, Any]:
        wanted: Mapping[str, list[str]] = self._wanted["show"]
        kept: dict[str, Any] = {}
        for kind, patterns in wanted.items():
            found = [one for one in whole[kind] if _matches(name_of(one), patterns)]
            kept[kind] = {name_of(one): _without(_nameless(one), self._hidden) for one in found}
        names = {name for kind in kept.values() for name in kind}
        kept["sources"] = {name: refs for name, refs in whole["sources"].items() if name in names}
        if whole["problems"]:
            kept["problems"] = whole["problems"]
        return kept


def as_read(type_url: str, body: bytes) -> Mapping[str, Any]:
    """Return a resource of one of the types that `show` knows as people read it."""
    found = readable.as_json(_MESSAGES[type_url].FromString(body))
    if type_url == NAME_TABLE:
        table: Mapping[str, Any] = found.get("table", {})  # type: ignore[assignment]
        return {host: table[host] for host in sorted(table)}
    return found


def _names(whole: Rendering) -> list[Mapping[str, Any]]:
    """Return the answers of DNS, which are not Envoy's."""
    tables = whole.snapshot.of(NAME_TABLE).resources.values()
    return [{"name": one.name, **as_read(NAME_TABLE, one.body)} for one in tables]


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


class Dumper(yaml.SafeDumper):
    """Lists stand in from their key, and nothing is written once and referred to."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: object) -> bool:
        del data
        return True
