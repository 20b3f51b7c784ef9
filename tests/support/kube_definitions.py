"""The CRDs of deploy/crds, read once: a document of a megabyte takes its time."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "crds"
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

Definition = dict[str, Any]


def definitions(*plurals: str) -> Sequence[Definition]:
    """Return the definitions of some kinds, or of all; nobody may change them."""
    found = [_read(path) for path in sorted(FOLDER.glob("*.istio.io.yaml"))]
    return [it for it in found if not plurals or it["spec"]["names"]["plural"] in plurals]


@cache
def _read(path: Path) -> Definition:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: Definition = yaml.load(path.read_text(), loader)  # noqa: S506  # either is a safe one
    return found
