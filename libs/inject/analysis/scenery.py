"""Scenery: all documents together, and what follows from them for a pod of a namespace."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from libs.api.kubernetes import ConfigMap
from libs.api.resource import Metadata
from libs.inject import config, webhooks
from libs.inject.analysis.subject import Subject
from libs.inject.config import InjectorConfig
from libs.inject.decide import decide


class Scenery(Struct, frozen=True, kw_only=True):
    """Documents, the namespaces and webhooks among them, and what the injector is told."""

    subjects: Sequence[Subject]
    namespaces: Mapping[str, Subject]
    injectors: Sequence[Subject]
    """Webhook configurations of injectors; where there are none, `asked` takes ours."""
    configs: Mapping[str, InjectorConfig]
    root: str

    @staticmethod
    def of(subjects: Iterable[Subject], root: str) -> "Scenery":
        """Return the scenery of documents."""
        every = sorted(subjects, key=lambda it: it.ref)
        return Scenery(
            subjects=every,
            namespaces={it.name: it for it in every if it.kind == "Namespace"},
            injectors=[it for it in every if it.kind == webhooks.KIND and _is_injector(it)],
            configs={it.name: _config(it) for it in every if _is_config(it)},
            root=root,
        )

    def injects(self, subject: Subject) -> bool:
        """Tell whether pods of the subject get a proxy when they are made.

        Nothing is known of the labels of a namespace that is not there: as if it asked for it.
        """
        namespace = self.namespaces.get(subject.namespace)
        found = webhooks.matches(
            self.configurations,
            namespace=subject.namespace,
            namespace_labels=namespace.labels if namespace else {},
            pod_labels=subject.pod_labels,
        )
        asked = any(one.asked if namespace else one.pod_fits for one in found)
        decided = decide(subject.pod or {}, subject.namespace, self.config("default"))
        return asked and decided.inject

    @property
    def configurations(self) -> list[Mapping[str, Any]]:
        """The webhook configurations of injectors."""
        ours = webhooks.configuration(webhooks.Target(system_namespace=self.root))
        return [written(it) for it in self.injectors] or [ours]

    def config(self, revision: str) -> InjectorConfig:
        """Return what the injector of a revision is told."""
        return self.configs.get(config.config_map_name(revision), InjectorConfig())


def hooks(subject: Subject) -> list[Mapping[str, Any]]:
    """Return the webhooks of a configuration, as far as they are mappings."""
    found = subject.raw.get("webhooks")
    every = found if isinstance(found, list) else []
    return [it if isinstance(it, Mapping) else {} for it in every]


def written(subject: Subject) -> Mapping[str, Any]:
    """Return a webhook configuration as `libs.inject.webhooks` takes it: a file may hold any."""
    metadata = {"name": subject.name, "labels": subject.labels}
    return {"metadata": metadata, "webhooks": hooks(subject)}


def _is_injector(subject: Subject) -> bool:
    return any(str(it.get("name", "")).endswith(webhooks.SUFFIX) for it in hooks(subject))


def _is_config(subject: Subject) -> bool:
    return subject.kind == "ConfigMap" and subject.name.startswith(config.NAME)


def _config(subject: Subject) -> InjectorConfig:
    data = subject.raw.get("data")
    texts = {k: v for k, v in data.items() if isinstance(v, str)} if isinstance(data, dict) else {}
    return config.read(ConfigMap(Metadata(subject.name), texts))[0]
