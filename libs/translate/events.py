"""Events: what happened to resources, the only input of translation.

Whoever sends events has decoded and validated the resources: of a bad object no event arrives, so
its last good state stays.
"""

from msgspec import Struct

from libs.api.resource import Resource
from libs.model.ids import Ref


class Upsert(Struct, frozen=True, gc=False):
    """A resource is there, new or changed. `observed` is when that was seen, in seconds."""

    resource: Resource
    observed: float = 0.0

    @property
    def ref(self) -> Ref:
        """The reference of the resource."""
        return self.resource.ref


class Remove(Struct, frozen=True, gc=False):
    """A resource has gone. `observed` is when that was seen, in seconds."""

    ref: Ref
    observed: float = 0.0


Event = Upsert | Remove
