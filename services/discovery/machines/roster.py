"""Roster: which machines are connected to any replica of config-push, added up from their rolls.

A replica whose stream breaks keeps its last word: its machines call on by what they were told, and
a control plane that is out of touch must not take them out of service. Only when the mesh does not
list the replica any more are its machines no longer there. Nobody is known to be gone before every
replica that is listed has given a whole roll.
"""

from collections.abc import Callable, Iterable, Iterator

from libs.model.machine import Machine
from libs.protos.machines.v1 import machines_pb2
from libs.protos.machines.v1.machines_pb2 import Roll
from services.discovery.machines.place import Health, Place, Present


class _Replica:
    """What a replica has said."""

    def __init__(self) -> None:
        self.present: dict[Place, Present] = {}
        self.heard = False
        self.whole: set[Place] | None = None  # of a roll that has begun, until it is whole


class Roster:
    """All machines that are connected."""

    def __init__(
        self, note: Callable[[Iterable[Place]], None], all_heard: Callable[[], None]
    ) -> None:
        """Call `note` with machines that have moved, `all_heard` when the last replica spoke."""
        self._note = note
        self._all_heard = all_heard
        self._replicas: dict[str, _Replica] = {}

    @property
    def heard(self) -> bool:
        """Whether it is known who is not connected."""
        return bool(self._replicas) and all(it.heard for it in self._replicas.values())

    def __iter__(self) -> Iterator[Place]:
        return iter({place for it in self._replicas.values() for place in it.present})

    def get(self, place: Place) -> Present | None:
        """Return a machine that is connected; of several words the one on the newest connection."""
        found = (it.present.get(place) for it in self._replicas.values())
        return max(filter(None, found), key=lambda it: (it.since, it.replica), default=None)

    def open(self, replica: str) -> None:
        """Wait for the word of a replica from now on."""
        self._replicas.setdefault(replica, _Replica())

    def close(self, replica: str) -> None:
        """Forget a replica: it has gone."""
        gone = self._replicas.pop(replica, None)
        if gone is not None:
            self._note(list(gone.present))
            if self.heard:
                self._all_heard()

    def begin(self, replica: str) -> None:
        """Expect a whole roll: a stream has been opened."""
        if replica in self._replicas:
            self._replicas[replica].whole = set()

    def take(self, replica: str, roll: Roll) -> None:
        """Take a roll in."""
        known = self._replicas.get(replica)
        if known is None:
            return
        moved = {_place(name) for name in roll.gone}
        for place in moved:
            known.present.pop(place, None)
        for told in roll.connected:
            found = _present(told, replica)
            place = _place(told.name)
            if known.present.get(place) != found:
                known.present[place] = found
                moved.add(place)
            if known.whole is not None:
                known.whole.add(place)
        if known.whole is not None and not roll.more:
            moved |= self._settle(known, known.whole)
        self._note(moved)

    def _settle(self, known: _Replica, whole: set[Place]) -> set[Place]:
        """Forget what a whole roll does not name."""
        known.whole = None
        gone = known.present.keys() - whole
        for place in gone:
            del known.present[place]
        if not known.heard:
            known.heard = True
            if self.heard:
                self._all_heard()
        return gone


def _place(name: machines_pb2.Name) -> Place:
    return Place(name.namespace, name.entry)


def _present(told: machines_pb2.Machine, replica: str) -> Present:
    machine = Machine(
        namespace=told.name.namespace,
        service_account=told.service_account,
        group=told.group,
        entry=told.name.entry,
        address=told.address,
        network=told.network,
        locality=told.locality,
        probes=told.probes,
    )
    said = told.health
    health = Health(said.healthy, said.message, said.observed) if told.HasField("health") else None
    return Present(machine, replica, told.since, health)
