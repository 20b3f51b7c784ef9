"""How often entries are written, whatever machines do, and what happens when writing fails."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager

import pytest
from msgspec import structs

from libs.api.networking.workload_entry import WorkloadEntrySpec
from libs.api.networking.workload_group import WorkloadGroup, WorkloadGroupSpec
from libs.api.resource import Metadata
from libs.protos.machines.v1.machines_pb2 import Health as SaidHealth
from libs.protos.machines.v1.machines_pb2 import Machine, Name, Roll
from libs.runtime.tasks import background
from libs.translate.apply import Event, Remove, Upsert
from libs.translate.machine_groups import DISCONNECTED_AT, GROUP
from services.discovery.machines import registrar
from services.discovery.machines.entries import Outcome
from services.discovery.machines.folder import FolderEntries
from services.discovery.machines.place import Entry, Health, Place
from services.discovery.machines.plan import Terms
from services.discovery.machines.registrar import Registrar
from tests.support.clock import VirtualClock

GRACE = 10.0
GROUP_OF_VMS = WorkloadGroup(
    Metadata("vm", namespace="shop", uid="u"),
    WorkloadGroupSpec(WorkloadEntrySpec(service_account="vm")),
)


class Writes:
    """Entries in memory that count what is written, and fail when they are told to."""

    def __init__(self, clock: VirtualClock) -> None:
        self.events: list[Event] = []
        self.kept = FolderEntries(self.events.append, clock)
        self.made: list[str] = []
        self.answers: list[Outcome] = []

    def __iter__(self) -> Iterator[Place]:
        return iter(self.kept)

    def get(self, place: Place) -> Entry | None:
        return self.kept.get(place)

    def count(self, namespace: str, group: str) -> int:
        return self.kept.count(namespace, group)

    def _fails(self, what: str) -> Outcome | None:
        self.made.append(what)
        return self.answers.pop(0) if self.answers else None

    async def create(self, place: Place, document: Mapping[str, object]) -> Outcome:
        return self._fails("create") or await self.kept.create(place, document)

    async def annotate(self, entry: Entry, annotations: Mapping[str, str | None]) -> Outcome:
        return self._fails("annotate") or await self.kept.annotate(entry, annotations)

    async def tell(self, entry: Entry, health: Health) -> Outcome:
        return self._fails("tell") or await self.kept.tell(entry, health)

    async def delete(self, entry: Entry) -> Outcome:
        return self._fails("delete") or await self.kept.delete(entry)


class World:
    """A registrar, its entries, and one replica of config-push."""

    def __init__(self, check: Callable[[], None] = lambda: None) -> None:
        self.clock = VirtualClock()
        self.writes = Writes(self.clock)
        self.registrar = Registrar(self.writes, self.clock, terms=Terms(grace=GRACE), check=check)
        self.writes.kept.seen = self.registrar.seen
        self.registrar.use({GROUP_OF_VMS.ref: GROUP_OF_VMS})
        self.roster = self.registrar.roster
        self.roster.open("a")
        self.roster.begin("a")
        self.roster.take("a", Roll())

    def come(self, number: int = 1, *, probes: bool = False, wrong: str | None = None) -> None:
        said = Machine(
            name=Name(namespace="shop", entry=f"vm-{number}"),
            service_account="vm",
            group="vm",
            address=f"10.0.0.{number}",
            probes=probes,
            since=self.clock.now(),
        )
        if wrong is not None:
            said.health.CopyFrom(SaidHealth(healthy=not wrong, message=wrong))
        self.roster.take("a", Roll(connected=[said]))

    def leave(self, number: int = 1) -> None:
        self.roster.take("a", Roll(gone=[Name(namespace="shop", entry=f"vm-{number}")]))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with background(self.registrar.run()):
            yield


async def test_an_entry_comes_stays_for_the_grace_and_goes() -> None:
    world = World()
    async with world.running():
        world.come()
        await world.clock.advance(1)
        assert isinstance(world.writes.events[-1], Upsert)
        world.leave()
        await world.clock.advance(1)
        assert world.writes.made == ["create", "annotate"]
        await world.clock.advance(GRACE)
        assert world.writes.made == ["create", "annotate", "delete"]
        assert isinstance(world.writes.events[-1], Remove)


async def test_a_machine_that_comes_and_goes_costs_a_write_now_and_then() -> None:
    world = World()
    async with world.running():
        for _ in range(100):
            world.come()
            await world.clock.advance(0.33)
            world.leave()
            await world.clock.advance(0.27)
    assert world.writes.made[0] == "create"
    assert len(world.writes.made) <= 2 + 60 / registrar.PAUSE_SECONDS
    assert "delete" not in world.writes.made


async def test_a_round_is_bounded_and_nobody_is_forgotten() -> None:
    world = World()
    async with world.running():
        for number in range(100):
            world.come(number)
        await world.clock.advance(registrar.ROUND_SECONDS * 1.5)
        assert len(world.writes.made) == registrar.MAX_ROUND
        await world.clock.advance(10)
        assert world.writes.made == ["create"] * 100


async def test_a_group_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registrar, "MAX_MACHINES", 3)
    world = World()
    async with world.running():
        for number in range(5):
            world.come(number)
        await world.clock.advance(5)
        assert len(list(world.writes)) == 3


async def test_health_that_flaps_costs_a_write_a_second() -> None:
    world = World()
    async with world.running():
        world.come(probes=True)
        await world.clock.advance(1)
        for _ in range(50):
            world.come(probes=True, wrong="")
            await world.clock.advance(0.1)
            world.come(probes=True, wrong="status 500")
            await world.clock.advance(0.1)
        await world.clock.advance(2)
        told = world.writes.made.count("tell")
        assert 2 <= told <= 2 + 10 / registrar.HEALTH_SECONDS
        entry = world.writes.get(Place("shop", "vm-1"))
        assert entry is not None
        assert (entry.healthy, entry.message) == (False, "status 500")


@pytest.mark.parametrize("answer", [Outcome.FAILED, Outcome.OUTDATED, Outcome.REFUSED])
async def test_a_write_that_did_not_happen_is_made_again(answer: Outcome) -> None:
    world = World()
    world.writes.answers = [answer, answer]
    async with world.running():
        world.come()
        await world.clock.advance(1)
        assert list(world.writes) == []
        await world.clock.advance(3 * registrar.REFUSED_SECONDS)
        assert list(world.writes) == [Place("shop", "vm-1")]
    assert world.writes.made == ["create"] * 3


async def test_a_write_over_what_somebody_has_changed_costs_no_pause() -> None:
    """The API server has refused it, and the watch tells of what is there instead."""
    world, place = World(), Place("shop", "vm-1")
    async with world.running():
        world.come(probes=True)
        await world.clock.advance(1)
        world.writes.answers = [Outcome.OUTDATED, Outcome.OUTDATED]
        world.come(probes=True, wrong="status 500")
        await world.clock.advance(registrar.ROUND_SECONDS * 1.5)
        world.registrar.seen(place)
        world.leave()
        await world.clock.advance(registrar.ROUND_SECONDS * 1.5)
        world.registrar.seen(place)
        await world.clock.advance(registrar.ROUND_SECONDS * 1.5)
    entry = world.writes.get(place)
    assert entry is not None
    assert entry.disconnected_at
    assert world.writes.made == ["create", "tell", "annotate", "annotate"]


async def test_whoever_does_not_lead_writes_nothing() -> None:
    class NotLeadingError(Exception):
        pass

    def check() -> None:
        raise NotLeadingError

    world = World(check)

    async def lead() -> None:
        async with world.running():
            world.come()
            await world.clock.advance(1)

    with pytest.raises(ExceptionGroup) as caught:
        await lead()
    assert caught.group_contains(NotLeadingError)
    assert world.writes.made == []


async def test_what_a_manifest_writes_under_the_name_of_a_machine_stays() -> None:
    world = World()
    async with world.running():
        world.come()
        await world.clock.advance(1)
    (written,) = [it for it in world.writes.events if isinstance(it, Upsert)]
    by_hand = structs.replace(
        written.resource, metadata=structs.replace(written.resource.metadata, annotations={})
    )
    other = World()
    other.writes.kept.use({by_hand.ref: by_hand})
    async with other.running():
        other.come()
        await other.clock.advance(1)
        assert other.writes.made == []
        other.writes.kept.use({})
        other.registrar.note_all()
        await other.clock.advance(1)
        assert other.writes.made == ["create"]


async def test_an_entry_is_annotated_as_istio_does() -> None:
    world = World()
    async with world.running():
        world.come()
        await world.clock.advance(1)
        world.leave()
        await world.clock.advance(1)
    last = world.writes.events[-1]
    assert isinstance(last, Upsert)
    said = last.resource.metadata.annotations
    assert said[GROUP] == "vm"
    assert DISCONNECTED_AT in said
    assert "istio.io/connectedAt" not in said
