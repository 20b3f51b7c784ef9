"""Objects: what the API server's bytes say, as events and problems. Pure, heavy enough for threads.

Of a bad object there is no event, so its last good state stays; what is wrong with it is a problem
for as long as it stays bad.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from libs.api import reasons
from libs.api.check import check_raw, check_resource
from libs.api.problem import Problem, Severity
from libs.api.registry import Kind
from libs.api.resource import Resource
from libs.api.slim import Slim
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.model.ids import Ref, ref
from libs.translate.apply import Event, Remove, Upsert, crash


class Found(Struct, frozen=True):
    """What is known of an object now. `event` is None if nothing good is known of it."""

    ref: Ref
    event: Event | None
    problems: tuple[Problem, ...] = ()


class Objects:
    """Reads objects of all kinds; what they share is kept once."""

    def __init__(self) -> None:
        self._slim = Slim()

    def read(self, kind: Kind, changes: Sequence[Change], observed: float) -> list[Found]:
        """Return what changes of a kind come to."""
        return [self._read(kind, change, observed) for change in changes]

    def _read(self, kind: Kind, change: Change, observed: float) -> Found:
        place = ref(kind.name, change.name.namespace, change.name.name)
        if change.raw is None:
            return Found(place, Remove(place, observed))
        try:
            resource, problems = self._decode(kind, change.name, change.raw)
        except Exception as error:  # noqa: BLE001  # one object must not hold up all others
            resource, problems = None, [crash(place, "reading", error)]
        event = None if resource is None else Upsert(resource, observed)
        return Found(place, event, tuple(problems))

    def _decode(self, kind: Kind, name: Name, raw: Raw) -> tuple[Resource | None, list[Problem]]:
        try:
            slim = self._slim.decode(kind.struct, raw) if kind.struct else None
        except (msgspec.DecodeError, RecursionError):
            slim = None  # the careful way says what is wrong with it
        if slim is None:
            return _carefully(kind, name, raw)
        problems = check_resource(slim)
        failed = any(problem.severity is Severity.ERROR for problem in problems)
        return None if failed else slim, problems


def _carefully(kind: Kind, name: Name, raw: Raw) -> tuple[Resource | None, list[Problem]]:
    try:
        written = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        place = ref(kind.name, name.namespace, name.name)
        return None, [Problem(place, "", reasons.INVALID_YAML, f"cannot be read: {error}")]
    # Lists of Kubernetes' own kinds do not repeat the kind in each item.
    written = {"apiVersion": kind.api_versions[0], "kind": kind.name} | written
    resource, problems = check_raw(written)
    return (None if resource is None else _unversioned(resource)), problems


def _unversioned(resource: Resource) -> Resource:
    """Without the version, which changes with each write of a status and says nothing."""
    metadata = replace(resource.metadata, resource_version="")
    return replace(resource, metadata=metadata)
