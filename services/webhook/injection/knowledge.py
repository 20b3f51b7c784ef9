"""Knowledge: what users have set for proxies, followed in the cluster, so that a pod asks nobody.

The mesh's ConfigMap, that of the injector, the ProxyConfigs and the labels of namespaces. A text
that has become wrong leaves what it said before in force; its problems are logged once. Of one that
was wrong from the beginning, what can be read counts.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
from msgspec.structs import replace

from libs.api import mesh_config, mesh_layers, registry
from libs.api.check import check_raw
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_layers import Layers
from libs.api.networking.proxy_config import ProxyConfig
from libs.api.problem import Problem, Severity
from libs.api.readers import reader_of
from libs.api.report import Report
from libs.api.resource import Metadata
from libs.inject import config, openshift, webhooks
from libs.inject.scene import NamespaceFacts, Settings
from libs.kube.client import Client
from libs.kube.collection import Collection, of_kind
from libs.kube.follow import Change, Follower, Sink
from libs.kube.list import Name
from libs.model.ids import ref
from libs.runtime.clock import Clock
from libs.runtime.tasks import background
from services.webhook import metrics

logger = logging.getLogger(__name__)

NETWORK_LABEL = "topology.istio.io/network"

OnLabels = Callable[[str, dict[str, str] | None], None]
"""Told of the name of a namespace and its labels; None if it is gone."""
OnConflict = Callable[[str, str], None]
"""Told of the name of a namespace with contradicting labels, and what is odd about it."""


class _Metadata(msgspec.Struct):
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class _Labelled(msgspec.Struct):
    metadata: _Metadata


_LABELLED = msgspec.json.Decoder(_Labelled)


class Knowledge:
    """What is known; `settings` and `namespace` are of this moment."""

    def __init__(
        self,
        system_namespace: str,
        revision: str,
        on_conflict: OnConflict,
        *,
        shared_mesh_config: str = "",
        on_labels: OnLabels = lambda *_: None,
    ) -> None:
        self.settings = Settings()
        self._mesh_names = mesh_layers.config_map_name(revision), shared_mesh_config
        self._layers = Layers()
        self._system = system_namespace
        self._revision = revision
        self._on_conflict = on_conflict
        self._on_labels = on_labels
        self._labels: dict[str, dict[str, str]] = {}
        self._ranges: dict[str, dict[str, str]] = {}
        """Of users and groups, where namespaces have some."""
        self._odd: set[str] = set()
        self._proxy_configs: dict[Name, ProxyConfig] = {}
        self._configured = False

    def namespace(self, name: str) -> NamespaceFacts:
        """Return what is known of a namespace; nothing, if it is new."""
        ranges = self._ranges.get(name, {})
        return NamespaceFacts(name=name, labels=self._labels.get(name, {}), annotations=ranges)

    @property
    def network(self) -> str:
        """The network of the cluster, as the system namespace's label names it."""
        return self._labels.get(self._system, {}).get(NETWORK_LABEL, "")

    @property
    def sources(self) -> list[tuple[Collection, Sink]]:
        """What to follow, and who takes it."""
        kinds = registry.BY_NAME
        namespaces = of_kind(kinds["", "Namespace"], metadata_only=True)
        proxy_configs = of_kind(kinds[registry.NETWORKING, "ProxyConfig"])
        return [
            (namespaces, self._take_namespaces),
            (proxy_configs, self._take_proxy_configs),
            *((self._config_map(name), self._take_mesh) for name in self._mesh_names if name),
            (self._config_map(config.config_map_name(self._revision)), self._take_config),
        ]

    def _config_map(self, name: str) -> Collection:
        kind = registry.BY_NAME["", "ConfigMap"]
        return of_kind(kind, namespace=self._system, field_selector=f"metadata.name={name}")

    async def _take_namespaces(self, changes: Sequence[Change]) -> None:
        for change in changes:
            name = change.name.name
            if change.raw is None:
                self._labels.pop(name, None)
                self._ranges.pop(name, None)
                self._odd.discard(name)
                self._on_labels(name, None)
                continue
            metadata = _LABELLED.decode(change.raw).metadata
            labels, written = metadata.labels or {}, metadata.annotations or {}
            self._labels[name] = labels
            ranges = {key: written[key] for key in openshift.ANNOTATIONS if key in written}
            if ranges or name in self._ranges:
                self._ranges[name] = ranges
            self._judge(name, labels)
            self._on_labels(name, labels)
        metrics.CONFLICTING_NAMESPACES.set(len(self._odd))

    def _judge(self, name: str, labels: dict[str, str]) -> None:
        text = webhooks.both_labels(labels)
        if not text:
            self._odd.discard(name)
        elif name not in self._odd:
            self._odd.add(name)
            logger.warning("contradicting labels", extra={"namespace": name, "text": text})
            self._on_conflict(name, text)

    async def _take_proxy_configs(self, changes: Sequence[Change]) -> None:
        for change in changes:
            found = _read(change)
            if isinstance(found, ProxyConfig):
                self._proxy_configs[change.name] = found
            elif change.raw is None:
                self._proxy_configs.pop(change.name, None)
        configs = tuple(self._proxy_configs.values())
        self.settings = replace(self.settings, proxy_configs=configs)

    async def _take_mesh(self, changes: Sequence[Change]) -> None:
        own, _ = self._mesh_names
        for change in changes:
            written = None if change.raw is None else _config_map_of(change)
            if written is not None:
                found, problems = mesh_config.read(written)
                _log(problems)
                if found is None:
                    continue  # what it said before holds
            if change.name.name == own:
                self._layers.own = written
            else:
                self._layers.shared = written
        together = self._layers.together(self._system, own)
        mesh = mesh_config.read(together)[0] if together else mesh_config.MeshConfig()
        if mesh is not None:
            self.settings = replace(self.settings, mesh=mesh)

    async def _take_config(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.raw is None:
                self._configured = False
                self.settings = replace(self.settings, config=config.InjectorConfig())
                continue
            found, problems = config.read(_config_map_of(change))
            _log(problems)
            if any(one.severity is Severity.ERROR for one in problems) and self._configured:
                found = replace(self.settings.config, refused=found.refused)
            self._configured = True
            self.settings = replace(self.settings, config=found)


@asynccontextmanager
async def followed(
    client: Client, sources: Sequence[tuple[Collection, Sink]], clock: Clock
) -> AsyncIterator[None]:
    """Follow collections while the block runs; it begins when all are known."""
    followers = [Follower(client, what, sink, clock=clock) for what, sink in sources]
    async with background(*(one.run() for one in followers)):
        await asyncio.gather(*(one.synced.wait() for one in followers))
        yield


def _config_map_of(change: Change) -> ConfigMap:
    """Items of a list do not say their kind, so this is not `check_raw`."""
    raw = msgspec.json.decode(change.raw or b"{}")
    found = reader_of(ConfigMap)(raw, None, Report(ref("ConfigMap", *_place(change))))
    if isinstance(found, ConfigMap):
        return found
    namespace, name = _place(change)
    return ConfigMap(Metadata(name, namespace))  # no API server has one that cannot be read


def _place(change: Change) -> tuple[str, str]:
    return change.name.namespace, change.name.name


def _read(change: Change) -> object:
    if change.raw is None:
        return None
    resource, problems = check_raw(msgspec.json.decode(change.raw))
    _log(problems)
    return resource


def _log(problems: Sequence[Problem]) -> None:
    for one in problems:
        extra = {"ref": one.ref, "path": one.path, "reason": one.reason, "text": one.text}
        level = logging.WARNING if one.severity is Severity.ERROR else logging.INFO
        logger.log(level, "problem in what the injector reads", extra=extra)
