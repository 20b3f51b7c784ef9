"""What every kind has in common: its metadata, its reference, and how its Structs are declared.

A kind is a subclass of `Resource` whose class name is the kind. Field names are snake case here and
camel case in manifests. `Message` is the base of everything inside Istio's kinds, where an unknown
field is an error; `Part` is the base of everything inside Kubernetes' own kinds, of which only the
fields that the mesh reads are declared.

An absent field of protobuf is the zero value; where absence and zero differ, the type allows None.
"""

from msgspec import Struct

from libs.api.scalars import Timestamp
from libs.model.ids import Ref, ref


class Part(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """A part of one of Kubernetes' kinds; fields that are not declared are ignored."""


class Message(
    Struct, frozen=True, gc=False, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """A part of one of Istio's kinds: every field is declared; snake case is accepted too."""


class OwnerReference(Part, frozen=True):
    """The resource that made this one."""

    kind: str = ""
    name: str = ""
    controller: bool = False


class Metadata(Part, frozen=True):
    """Name, labels and annotations. `namespace` is empty for cluster-scoped kinds."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    creation_timestamp: Timestamp | None = None
    deletion_timestamp: Timestamp | None = None


class Resource(Part, frozen=True):
    """One object of the API."""

    metadata: Metadata

    @property
    def ref(self) -> Ref:
        """The reference by which problems, causes and sources name this resource."""
        return ref(type(self).__name__, self.metadata.namespace, self.metadata.name)


class IstioResource(Resource, frozen=True, forbid_unknown_fields=True):
    """One object of Istio's API."""
