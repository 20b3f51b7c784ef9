"""Resources written as YAML in tests, and what translation makes of them."""

import textwrap
from collections.abc import Iterable

from libs.api import documents
from libs.api.decode import decode
from libs.api.resource import Resource
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.translate.apply import State, Step, Upsert, apply, initial


def resources(text: str) -> list[Resource]:
    """Return the resources of a manifest that must be right."""
    found = []
    for document in documents.read(textwrap.dedent(text), "test.yaml"):
        assert document.raw is not None, document.problems
        resource, problems = decode(document.raw)
        assert resource is not None, problems
        found.append(resource)
    return found


def translated(text: str, state: State | None = None) -> Step:
    """Return the step that the resources of a manifest lead to."""
    return upserted(resources(text), state)


def upserted(found: Iterable[Resource], state: State | None = None) -> Step:
    """Return the step that resources lead to."""
    return apply(state or initial(MeshSettings()), [Upsert(resource, 1.0) for resource in found])


def mesh_of(text: str) -> Mesh:
    """Return the mesh of a manifest."""
    return translated(text).state.mesh
