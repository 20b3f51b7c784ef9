"""Golden pods: workloads in, the same workloads with proxies out, one folder a feature.

`pods/<feature>/in.yaml` holds ordinary manifests, ConfigMaps and ProxyConfigs among them; a first
document of its own may name the cluster: `native_sidecars: false`, `revision: canary`. `out.yaml`
has the workloads as injection leaves them, and what it says of them. `make golden` writes it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, convert

from libs.api import documents
from libs.inject import manifests
from libs.inject.scene import Cluster
from services.ctl import inject

ROOT = Path(__file__).parent / "pods"
_HEADER = "# Written by `make golden` from in.yaml. Read the difference before committing it.\n"


class PodCase(Struct, frozen=True):
    """One folder."""

    folder: Path

    @property
    def name(self) -> str:
        """The feature."""
        return f"pods/{self.folder.name}"

    @property
    def expected(self) -> Path:
        """Where the expected output is."""
        return self.folder / "out.yaml"

    def output(self) -> str:
        """Return what `out.yaml` should hold."""
        header, _, text = (self.folder / "in.yaml").read_text().partition("\n---\n")
        cluster = convert(yaml.safe_load(header) or {}, Cluster)
        raws = [one.raw for one in documents.read(text, "in.yaml") if one.raw is not None]
        settings = inject.settings_of(raws, inject.Options())
        namespaces = inject.namespaces_of(raws)
        found = [
            manifests.injected(raw, cluster=cluster, settings=settings, namespaces=namespaces)
            for raw in raws
        ]
        makers = [one for one in found if manifests.pod_of(one.document) is not None]
        return _HEADER + inject.written([_shown(one) for one in makers])


def _shown(outcome: manifests.Outcome) -> Mapping[str, Any]:
    said = [f"{one.severity} {one.path}: {one.text}" for one in outcome.problems]
    if outcome.decision is not None:
        said = [outcome.decision.text, *outcome.decision.ignored, *said]
    return {"said": said, "workload": None if outcome.refused else outcome.document}


def every() -> list[PodCase]:
    """Return all cases by name."""
    return [PodCase(found.parent) for found in sorted(ROOT.glob("*/in.yaml"))]
