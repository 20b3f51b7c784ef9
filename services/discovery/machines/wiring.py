"""Wiring of machines: where entries are kept, and when this process may write them."""

from collections.abc import Callable

from libs.model.mesh import Mesh
from libs.runtime.clock import Clock
from libs.runtime.tasks import Group
from libs.translate.apply import State
from services.discovery.machines.cluster import ClusterEntries
from services.discovery.machines.folder import FolderEntries
from services.discovery.machines.plan import Terms
from services.discovery.machines.registrar import Registrar
from services.discovery.machines.rolls import Rolls
from services.discovery.replicas import Connect, Replicas
from services.discovery.settings import Settings
from services.discovery.sources import Opened
from services.discovery.status.wiring import Statuses

Where = Callable[[Mesh], frozenset[str]]
"""Finds every config-push, `host:port`."""


class Machines:
    """The machines of one mesh. Make it with `registration`."""

    def __init__(
        self,
        entries: ClusterEntries | FolderEntries,
        registrar: Registrar,
        replicas: Replicas,
        *,
        where: Where,
    ) -> None:
        self._entries = entries
        self._registrar = registrar
        self._replicas = replicas
        self._where = where
        entries.seen = registrar.seen

    def publish(self, state: State) -> None:
        """Take the latest state."""
        if isinstance(self._entries, FolderEntries):
            self._entries.use(state.resources.get("WorkloadEntry", {}))
        self._registrar.use(state.resources.get("WorkloadGroup", {}))
        self._replicas.want(self._where(state.mesh))

    async def run(self) -> None:
        """Register and remove until cancelled. In a cluster only the leader does."""
        async with Group() as group:
            group.create_task(self._replicas.run())
            group.create_task(self._registrar.run())


def registration(
    settings: Settings,
    opened: Opened,
    statuses: Statuses | None,
    *,
    connect: Connect,
    clock: Clock,
    where: Where,
) -> Machines:
    """Return who registers machines: in a cluster the leader, who also writes statuses."""
    terms = Terms(grace=settings.machines_grace_seconds, revision=settings.revision)
    if opened.client is None or opened.tell is None or statuses is None:
        folder = FolderEntries(opened.source.put, clock)
        registrar = Registrar(folder, clock, terms=terms, check=lambda: None)
        replicas = Replicas(connect, Rolls(registrar.roster), clock)
        return Machines(folder, registrar, replicas, where=where)
    entries = ClusterEntries(opened.client)
    registrar = Registrar(entries, clock, terms=terms, check=statuses.check)
    replicas = Replicas(connect, Rolls(registrar.roster), clock)
    machines = Machines(entries, registrar, replicas, where=where)
    statuses.duties.append(machines.run)
    statuses.subjects.others.append(entries.take)
    return machines
