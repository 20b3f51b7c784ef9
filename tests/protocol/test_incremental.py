"""From manifests to the bytes that Envoys hold: the way there does not matter, only what is said.

A process that has followed a thousand changes and one that has just started give every proxy the
same bytes, and the proxies hold them. What is walked through is drawn from seeds, see
`tests.support.worlds`; a failure says which, and what was done last. One way is long and a few are
short: a world differs more from that of another seed than from itself some changes later.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import combinations

import pytest

from libs.model.ids import parse_ref
from libs.model.mesh import Mesh
from libs.model.service import Service
from libs.model.traffic import HostPolicy, Routing
from libs.proxy.locality import NETWORK_LABEL
from libs.xds import affects
from libs.xds.types import ENDPOINT, LISTENER, ROUTE, ResourceSet
from tests.support import world_said
from tests.support.examples import examples, exploring
from tests.support.histories import CLIENTS, Followed, Stream, classes, fresh_mesh, make, want
from tests.support.worlds import World, pool

BEGIN = 120
CHANGES = 1000
SHORT_WALKS, FEWER = 3, 50
LOOKS = 50
"""After so many changes a process starts anew and is compared."""

POOL = pool()

Contents = Mapping[str, Mapping[str, bytes]]


def seeds(count: int) -> list[int]:
    chance = random.Random() if exploring() else random.Random(1)  # noqa: S311 - not a secret
    return [chance.randrange(1 << 30) for _ in range(count)]


def walk(world: World, followed: Followed, changes: int) -> Iterator[int]:
    """Change the world and let it be followed; yield how many changes there were."""
    followed.take(world.begin(BEGIN))
    done = 0
    while done < changes:
        yield done
        window = [world.change() for _ in range(world.chance.choice((1, 1, 1, 2, 3, 6)))]
        for stream in followed.streams:
            if world.chance.random() < 0.02:
                stream.drop()
        followed.take(window)
        done += len(window)
    yield done


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", seeds(examples(1)))
def test_whoever_follows_a_thousand_changes_holds_what_a_fresh_process_says(seed: int) -> None:
    assert compared(World(POOL, seed), CHANGES) >= 1000


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", seeds(examples(1) + SHORT_WALKS)[examples(1) :])
def test_whoever_follows_holds_what_a_fresh_process_says(seed: int) -> None:
    compared(World(POOL, seed), FEWER)


def compared(world: World, changes: int) -> int:
    """Follow so many changes, comparing on the way and at the end; return how many there were."""
    followed, looked = Followed(CLIENTS), 0
    for done in walk(world, followed, changes):
        if done - looked >= LOOKS or done >= changes:
            looked = done
            compare(followed, world)
            check_sharing(followed)
            check_privacy(followed)
    return done


def compare(followed: Followed, world: World) -> None:
    now = fresh_mesh(world.resources())
    started = classes()
    for stream in followed.streams:
        expected = make(started, now, want(stream.who.peer(now))).sets
        about = (stream.who, world.said[-20:])
        assert bytes_of(stream.sets) == bytes_of(expected), about
        for type_url, found in expected.items():
            offered = stream.sets[type_url]
            assert offered.version == found.version, about
            assert offered.outcomes == found.outcomes, about
            for name, item in found.resources.items():
                assert offered.resources[name].sources == item.sources, (name, about)
        check_held(stream, bytes_of(expected), about)


def bytes_of(sets: Mapping[str, ResourceSet]) -> Contents:
    return {
        type_url: {name: one.body for name, one in found.resources.items()}
        for type_url, found in sets.items()
    }


def check_held(stream: Stream, expected: Contents, about: object) -> None:
    for type_url, held in stream.held.items():
        wanted = {
            name: body
            for name, body in expected.get(type_url, {}).items()
            if stream.client.covers(type_url, name)
        }
        assert held == wanted, (type_url, about)


def check_sharing(followed: Followed) -> None:
    """Equal scopes are sent the very same objects."""
    for one, two in combinations(followed.streams, 2):
        if one.digest == two.digest:
            for type_url, found in one.sets.items():
                assert two.sets[type_url] is found or type_url == ENDPOINT, (one.who, two.who)
                for name, item in found.resources.items():
                    assert two.sets[type_url].resources[name] is item, (name, one.who, two.who)
        elif one.who.place[0] != two.who.place[0]:
            shared = one.sets[LISTENER] is two.sets[LISTENER]
            assert not shared or not one.sets[LISTENER].resources, (one.who, two.who)


def check_privacy(followed: Followed) -> None:
    for stream in followed.streams:
        told = set(foreign(stream, followed.mesh, stream.who.place[0]))
        assert not told, stream.who


def foreign(stream: Stream, mesh: Mesh, namespace: str) -> Iterator[str]:
    """Yield what a proxy of `namespace` is told though it is private to others."""
    private = {row.ref for row in _private(mesh, namespace)}
    allowed = {namespace, mesh.settings.root_namespace}
    for type_url, found in stream.sets.items():
        for item in found.resources.values():
            inbound = "inbound" in item.name.lower()
            if not inbound and type_url in {ROUTE, ENDPOINT}:
                yield from private.intersection(item.sources)
            for ref in item.sources:
                kind, owner, _ = parse_ref(ref)
                if (
                    kind in {"AuthorizationPolicy", "RequestAuthentication"}
                    and owner not in allowed
                ):
                    yield ref


def _private(mesh: Mesh, namespace: str) -> Iterator[Service | HostPolicy | Routing]:
    for row in mesh.services.values():
        if NETWORK_LABEL in row.labels:
            continue  # everybody is told where another network is entered
        audience = row.export_to or mesh.settings.service_export_to
        if not _may_see(tuple(audience), row.namespace, namespace):
            yield row


def _may_see(audience: tuple[str, ...], owner: str, namespace: str) -> bool:
    if not audience or "*" in audience or namespace in audience:
        return True
    return "." in audience and owner == namespace


def test_what_is_private_would_be_found_at_others() -> None:
    """The look for foreign configuration finds it where it is: at proxies of its own namespace."""
    missing = {"Service", "AuthorizationPolicy"}
    for seed in range(20):
        followed = Followed(CLIENTS)
        for _ in walk(World(POOL, seed), followed, 10):
            for stream in followed.streams:
                found = foreign(stream, followed.mesh, "nobody")
                missing -= {parse_ref(ref)[0] for ref in found}
        if not missing:
            return
    raise AssertionError(missing)


@pytest.mark.parametrize("type_url", [ROUTE, LISTENER])
def test_a_type_that_is_forgotten_is_found_out(
    type_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = affects.types
    monkeypatch.setattr(affects, "types", lambda tables: known(tables) - {type_url})
    world, followed = World(POOL, 3), Followed(CLIENTS)
    with pytest.raises(AssertionError):
        follow(world, followed)


def follow(world: World, followed: Followed) -> None:
    for _ in walk(world, followed, 100):
        compare(followed, world)


@pytest.mark.parametrize("seed", seeds(examples(3)))
def test_the_order_of_manifests_and_of_hashes_does_not_matter(seed: int) -> None:
    expected = world_said.digest(seed, 200)
    assert expected == world_said.digest(seed, 200, order=seed)
    command = [sys.executable, "-m", "tests.support.world_said", str(seed), "200"]
    for hashes in ("1", "2"):
        said = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": "."},  # noqa: TID251 - a child's
        )
        assert said.stdout == expected


def test_other_manifests_are_told_apart() -> None:
    assert world_said.digest(1, 200) != world_said.digest(2, 200)
