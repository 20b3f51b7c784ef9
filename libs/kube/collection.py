"""Collections: what can be listed and watched: a kind, in all namespaces or one, maybe selected.

A collection has one path for each version in which its kind may be served; the first that the
server knows is used. `metadata_only` asks for names and labels without the rest of the objects.
"""

from msgspec import Struct

from libs.api.registry import Kind

JSON = "application/json"
_METADATA = "application/json;as={};g=meta.k8s.io;v=v1"
_METADATA_LIST = _METADATA.format("PartialObjectMetadataList")
_METADATA_OBJECT = _METADATA.format("PartialObjectMetadata")


class Collection(Struct, frozen=True, kw_only=True):
    """Objects of one kind."""

    name: str  # <plural>[.<group>], as RBAC and people call it
    paths: tuple[str, ...]
    field_selector: str = ""
    label_selector: str = ""
    metadata_only: bool = False

    @property
    def accept_list(self) -> str:
        """The media type of a list."""
        return f"{_METADATA_LIST},{JSON}" if self.metadata_only else JSON

    @property
    def accept_watch(self) -> str:
        """The media type of a watch, whose events carry single objects."""
        return f"{_METADATA_OBJECT},{JSON}" if self.metadata_only else JSON

    @property
    def params(self) -> dict[str, str | int]:
        """The selectors as query parameters."""
        selectors = {"fieldSelector": self.field_selector, "labelSelector": self.label_selector}
        return {name: text for name, text in selectors.items() if text}


def of_kind(
    kind: Kind,
    *,
    namespace: str = "",
    field_selector: str = "",
    label_selector: str = "",
    metadata_only: bool = False,
) -> Collection:
    """Return the collection of a kind, of all namespaces unless one is named."""
    place = f"namespaces/{namespace}/" if namespace else ""
    return Collection(
        name=f"{kind.plural}.{kind.group}" if kind.group else kind.plural,
        paths=tuple(
            f"{_root(kind.group)}/{version}/{place}{kind.plural}" for version in kind.versions
        ),
        field_selector=field_selector,
        label_selector=label_selector,
        metadata_only=metadata_only,
    )


def _root(group: str) -> str:
    return f"/apis/{group}" if group else "/api"


DEFINITIONS = Collection(
    name="customresourcedefinitions.apiextensions.k8s.io",
    paths=("/apis/apiextensions.k8s.io/v1/customresourcedefinitions",),
    metadata_only=True,
)
"""The CRDs: an object is named `<plural>.<group>`, as a collection is."""
