"""Revisions: which objects are for the control plane of another revision.

The label `istio.io/rev` gives an object of Istio's kinds to one revision; without it, it is
everybody's. What is for others is as if it was not there: no proxy of ours gets anything of it, and
its status is for its own control plane to write. A problem says so to people who wonder.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Raw, Struct

from libs.api import reasons
from libs.api.mesh_layers import DEFAULT_REVISION
from libs.api.problem import Problem, Severity
from libs.api.registry import Kind
from libs.kube.follow import Change
from libs.model.ids import Ref, ref

LABEL = "istio.io/rev"

_GROUPS = ".istio.io"


class _Metadata(Struct, frozen=True):
    labels: dict[str, str] | None = None


class _Object(Struct, frozen=True):
    metadata: _Metadata = _Metadata()


_DECODER = msgspec.json.Decoder(_Object)


class Revisions:
    """Knows which revision this control plane is of."""

    def __init__(self, own: str) -> None:
        self._own = own or DEFAULT_REVISION

    def part(
        self, kind: Kind, changes: Sequence[Change]
    ) -> tuple[Sequence[Change], Mapping[Ref, Problem]]:
        """Return the changes as they are for this revision, and what is said of others' objects.

        An object that is given to another revision is one that has gone.
        """
        if not kind.group.endswith(_GROUPS):
            return changes, {}
        parted: list[Change] = []
        said: dict[Ref, Problem] = {}
        for change in changes:
            revision = _revision(change.raw)
            if revision in {"", self._own}:
                parted.append(change)
                continue
            parted.append(Change(change.name, None))
            place = ref(kind.name, change.name.namespace, change.name.name)
            said[place] = self._problem(place, revision)
        return parted, said

    def _problem(self, place: Ref, revision: str) -> Problem:
        text = f"is for the revision {revision[:100]!r}, and this control plane is {self._own!r}"
        path = f'metadata.labels["{LABEL}"]'
        return Problem(place, path, reasons.OTHER_REVISION, text, Severity.WARNING)


def _revision(raw: Raw | None) -> str:
    """Return the revision that an object is given to; "" for none, or where it cannot be read."""
    if raw is None:
        return ""
    try:
        return (_DECODER.decode(raw).metadata.labels or {}).get(LABEL, "")
    except (msgspec.MsgspecError, RecursionError):
        return ""  # whoever reads all of it says what is wrong with it
