"""ResolvedName: the addresses behind a host name, as discovery has found them.

No manifest can write one: it is not in the registry. It is named by the host name, in lower case.
"""

from libs.api.resource import Resource
from libs.model.ids import Ref, ref


class ResolvedName(Resource, frozen=True):
    """The last addresses that were found, in order, and what went wrong since."""

    addresses: tuple[str, ...] = ()
    fault: str = ""


def resolved_name_ref(name: str) -> Ref:
    """Return the reference of a resolved name."""
    return ref("ResolvedName", "", name)
