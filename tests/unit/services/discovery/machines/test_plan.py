"""What happens to a WorkloadEntry, for each of the situations that it can be in."""

import pytest
from msgspec import structs

from libs.api.networking.workload_entry import WorkloadEntrySpec
from libs.api.networking.workload_group import WorkloadGroup, WorkloadGroupSpec
from libs.api.resource import Metadata
from libs.model.machine import Machine
from libs.translate.machine_groups import CONNECTED_AT, CONTROLLER, DISCONNECTED_AT, GROUP
from services.discovery.machines.place import Entry, Health, Place, Present
from services.discovery.machines.plan import (
    Annotate,
    Create,
    Delete,
    Look,
    Step,
    Taken,
    Tell,
    Terms,
    decide,
    seconds,
    timestamp,
)

NOW, GRACE = 1_700_000_000.0, 10.0
PLACE = Place("shop", "vm-10.0.0.1")
MACHINE = Machine(
    namespace="shop", service_account="vm", group="vm", entry=PLACE.name, address="10.0.0.1"
)
HERE = Present(MACHINE, "a:1", since=NOW - 5)
WELL, UNWELL = Health(True, "", NOW), Health(False, "status 500", NOW)  # its field
CONNECTED = Entry(
    place=PLACE,
    group="vm",
    account="vm",
    controller="seine-config-push@a:1",
    connected_at=timestamp(NOW - 100),
)
LOST = structs.replace(CONNECTED, connected_at="", disconnected_at=timestamp(NOW - 4))


def group(account: str = "vm", *, namespace: str = "shop", name: str = "vm") -> WorkloadGroup:
    spec = WorkloadGroupSpec(WorkloadEntrySpec(service_account=account))
    return WorkloadGroup(Metadata(name, namespace=namespace, uid="u"), spec)


def step(
    entry: Entry | None,
    present: Present | None = HERE,
    of: WorkloadGroup | None = group(),  # noqa: B008  # it never changes
    *,
    heard: bool = True,
) -> Step:
    return decide(entry, present, of, heard=heard, now=NOW, terms=Terms(grace=GRACE))


def test_a_machine_gets_an_entry() -> None:
    found = step(None)
    assert isinstance(found, Create)
    metadata = found.document["metadata"]
    assert isinstance(metadata, dict)
    assert (metadata["namespace"], metadata["name"]) == PLACE
    assert metadata["annotations"] == {
        GROUP: "vm",
        CONTROLLER: "seine-config-push@a:1",
        CONNECTED_AT: timestamp(NOW),
    }


@pytest.mark.parametrize(
    "of",
    [None, group("thief"), group(namespace="other"), group(name="other"), group("")],
    ids=["none", "another account", "another namespace", "another name", "default account"],
)
def test_nobody_gets_one_by_a_group_that_is_not_theirs(of: WorkloadGroup | None) -> None:
    assert step(None, HERE, of) is None


def test_a_group_without_an_account_is_for_the_default_one() -> None:
    own = structs.replace(MACHINE, service_account="default")
    found = step(None, structs.replace(HERE, machine=own), group(""))
    assert isinstance(found, Create)
    assert found.document["spec"] == {"address": "10.0.0.1", "serviceAccount": "default"}


def test_what_is_as_it_should_be_is_not_written() -> None:
    assert step(CONNECTED) is None
    again = structs.replace(HERE, since=NOW)
    assert step(CONNECTED, again) is None


def test_a_machine_that_came_back_or_moved_is_annotated() -> None:
    expected = {CONNECTED_AT: timestamp(NOW - 5), DISCONNECTED_AT: None}
    assert step(LOST) == Annotate({**expected, CONTROLLER: "seine-config-push@a:1"})
    moved = structs.replace(HERE, replica="b:1")
    assert step(CONNECTED, moved) == Annotate({**expected, CONTROLLER: "seine-config-push@b:1"})


def test_an_entry_without_its_machine_stays_for_the_grace() -> None:
    found = step(CONNECTED, None)
    assert found == Annotate({CONNECTED_AT: None, DISCONNECTED_AT: timestamp(NOW)}, lost=True)
    assert step(LOST, None) == Look(6.0)
    old = structs.replace(LOST, disconnected_at=timestamp(NOW - 10))
    assert step(old, None) == Delete()
    ahead = structs.replace(LOST, disconnected_at=timestamp(NOW + 3600))
    assert step(ahead, None) == Look(GRACE)


def test_nothing_is_taken_away_before_every_replica_has_spoken() -> None:
    for entry in (CONNECTED, LOST):
        assert step(entry, None, heard=False) is None


def test_an_entry_goes_with_its_group_or_its_account() -> None:
    assert step(CONNECTED, HERE, None) == Delete()
    assert step(CONNECTED, None, None, heard=False) == Delete()
    assert step(CONNECTED, HERE, group("other")) == Delete()


@pytest.mark.parametrize("controller", ["istiod-1234", "", "seine-config-push"])
def test_entries_of_another_control_plane_stay_until_their_machine_comes_here(
    controller: str,
) -> None:
    theirs = structs.replace(CONNECTED, controller=controller)
    assert step(theirs, None) is None
    assert step(theirs, None, None) is None
    assert isinstance(step(theirs), Annotate)


@pytest.mark.parametrize("name", ["", "other"])
def test_what_somebody_else_wrote_is_left_alone(name: str) -> None:
    theirs = structs.replace(CONNECTED, group=name)
    assert step(theirs) == Taken()
    if not name:
        assert step(theirs, None) is None


def test_health_is_told_when_it_differs_and_the_entry_is_checked() -> None:
    checked = structs.replace(CONNECTED, checked=True)
    unwell = structs.replace(HERE, health=UNWELL)
    assert step(CONNECTED, unwell) is None
    assert step(checked) is None
    assert step(checked, unwell) == Tell(UNWELL)
    told = structs.replace(checked, healthy=False, message="status 500")
    assert step(told, unwell) is None
    assert step(told, structs.replace(HERE, health=WELL)) == Tell(WELL)


def test_times_are_read_as_istio_writes_them() -> None:
    assert seconds(timestamp(NOW)) == NOW
    assert seconds("2023-11-14T22:13:20.123456789Z") == pytest.approx(NOW + 0.123456, abs=1e-5)
    assert seconds("soon") is None


def test_a_machine_that_another_revision_had_is_left_to_it_and_taken_over_when_it_comes() -> None:
    canary = Terms(grace=GRACE, revision="canary")
    gone = decide(CONNECTED, None, group(), heard=True, now=NOW, terms=canary)
    assert gone is None
    here = decide(CONNECTED, HERE, group(), heard=True, now=NOW, terms=canary)
    assert isinstance(here, Annotate)
    assert here.annotations[CONTROLLER] == f"seine-config-push-canary@{HERE.replica}"
    theirs = structs.replace(CONNECTED, controller="seine-config-push-canary@a:1")
    assert step(theirs, None) is None
