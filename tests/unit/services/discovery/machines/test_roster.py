"""Who is connected, by what replicas of config-push say and do not say."""

from libs.protos.machines.v1.machines_pb2 import Health, Machine, Name, Roll
from services.discovery.machines.place import Place
from services.discovery.machines.roster import Roster

ONE, TWO = Place("shop", "vm-1"), Place("shop", "vm-2")


class Told(Roster):
    """A roster with what it has told."""

    def __init__(self) -> None:
        self.moved: list[Place] = []
        self.complete = 0
        super().__init__(self.moved.extend, self._count)

    def _count(self) -> None:
        self.complete += 1

    def take_moved(self) -> set[Place]:
        moved = set(self.moved)
        self.moved.clear()
        return moved


def machine(place: Place, since: float = 1.0, **fields: object) -> Machine:
    name = Name(namespace=place.namespace, entry=place.name)
    return Machine(name=name, group="vm", since=since, **fields)  # type: ignore[arg-type]


def roll(*places: Place, more: bool = False) -> Roll:
    return Roll(connected=[machine(place) for place in places], more=more)


def spoken(*replicas: str) -> Told:
    found = Told()
    for replica in replicas:
        found.open(replica)
    for replica in replicas:
        found.begin(replica)
        found.take(replica, Roll())
    return found


def test_nobody_is_known_to_be_gone_before_all_have_spoken() -> None:
    found = Told()
    assert not found.heard
    found.open("a")
    found.open("b")
    found.begin("a")
    found.take("a", roll(ONE, more=True))
    assert not found.heard
    found.take("a", roll(TWO))
    assert not found.heard
    found.begin("b")
    found.take("b", Roll())
    assert (found.heard, found.complete) == (True, 1)
    assert set(found) == {ONE, TWO}


def test_a_replica_that_is_gone_is_not_waited_for() -> None:
    found = Told()
    found.open("a")
    found.open("b")
    found.begin("a")
    found.take("a", Roll())
    found.close("b")
    assert (found.heard, found.complete) == (True, 1)
    found.close("a")
    assert not found.heard


def test_changes_move_and_repetitions_do_not() -> None:
    found = spoken("a")
    found.take("a", roll(ONE))
    assert found.take_moved() == {ONE}
    found.take("a", roll(ONE))
    assert found.take_moved() == set()
    well = Health(healthy=True, observed=1.0)
    found.take("a", Roll(connected=[machine(ONE, health=well)]))
    assert found.take_moved() == {ONE}
    found.take("a", Roll(gone=[Name(namespace="shop", entry="vm-1")]))
    assert found.take_moved() == {ONE}
    assert found.get(ONE) is None


def test_a_broken_stream_keeps_its_last_word_and_a_new_one_replaces_it() -> None:
    found = spoken("a")
    found.take("a", roll(ONE, TWO))
    found.begin("a")
    assert found.get(ONE) is not None
    assert found.heard
    found.take_moved()
    found.take("a", roll(TWO))
    assert found.take_moved() == {ONE}
    assert found.get(ONE) is None


def test_the_newest_connection_counts_and_the_other_when_that_is_gone() -> None:
    found = spoken("a", "b")
    found.take("a", Roll(connected=[machine(ONE, since=1.0)]))
    found.take("b", Roll(connected=[machine(ONE, since=2.0)]))
    assert (found.get(ONE) or 0).replica == "b"  # type: ignore[union-attr]
    found.take_moved()
    found.close("b")
    assert found.take_moved() == {ONE}
    assert (found.get(ONE) or 0).replica == "a"  # type: ignore[union-attr]


def test_who_is_not_listed_has_no_say() -> None:
    found = spoken("a")
    found.take("b", roll(ONE))
    assert set(found) == set()
