"""Opening: the plane that a command asks, ready to be asked."""

from collections.abc import Iterator
from contextlib import contextmanager

from libs.runtime.localmesh import LocalMesh
from services.ctl import where
from services.ctl.plane import Plane
from services.ctl.where import Where


@contextmanager
def opened(asked: Where) -> Iterator[Plane]:
    """Yield the plane that is meant; name on standard error who of it did not answer."""
    found = where.find(asked)
    if isinstance(found, LocalMesh):
        from services.ctl.local_plane import LocalPlane  # noqa: PLC0415 - the one that is meant

        yield LocalPlane(found, asked.namespace)
    else:
        from services.ctl import cluster_plane  # noqa: PLC0415

        with cluster_plane.opened(found, asked.namespace) as plane:
            yield plane
