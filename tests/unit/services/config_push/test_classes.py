import gc
import logging
from collections.abc import Mapping

import pytest

from libs.model.mesh import Mesh, Table
from libs.proxy.errors import NodeError
from libs.proxy.node import Proxy
from libs.proxy.scope import ProxyScope
from libs.xds import affects
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ResourceSet, resource_set
from services.config_push import stored
from services.config_push.classes import KEPT, Classes, Want
from services.config_push.queue import Lane
from tests.support.mesh import access_policy, endpoints, mesh, proxy, service, workload
from tests.support.snapshots import item

WEB = service("web")
WORLD = mesh(WEB, endpoints(WEB, "10.0.0.1"))


class Counting:
    """Generators that count their runs and fail when they are told to."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.failing: set[str] = set()
        self.generators = {
            CLUSTER: self._clusters,
            ENDPOINT: self._endpoints,
            LISTENER: self._listeners,
        }

    def _run(self, type_url: str) -> None:
        self.runs.append(type_url)
        if type_url in self.failing:
            raise RuntimeError(type_url)

    def _clusters(self, scope: ProxyScope) -> ResourceSet:
        self._run(CLUSTER)
        names = [one.service.name for one in scope.outbound.services]
        return resource_set(CLUSTER, [item(CLUSTER, name) for name in names])

    def _endpoints(self, scope: ProxyScope) -> ResourceSet:
        self._run(ENDPOINT)
        made = [
            item(ENDPOINT, name, ",".join(one.address for one in scoped.endpoints))
            for name, scoped in scope.endpoints.items()
        ]
        return resource_set(ENDPOINT, made)

    def _listeners(self, scope: ProxyScope) -> ResourceSet:
        self._run(LISTENER)
        policies = ",".join(one.name for one in scope.inbound.policies)
        return resource_set(LISTENER, [item(LISTENER, "inbound", policies)])


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def classes(counting: Counting) -> Classes:
    return Classes(counting.generators, affects.types)


def _want(
    name: str = "client",
    *,
    lane: Lane = Lane.CONFIGURATION,
    tables: frozenset[Table] = frozenset(),
    digest: str = "",
    before: Mapping[str, ResourceSet] | None = None,
    found: Proxy | None = None,
) -> Want:
    made = found or proxy(name)
    return Want(1, lane, lambda _: made, tables, digest, before or {})


def test_equal_scopes_are_generated_once(classes: Classes, counting: Counting) -> None:
    world = mesh(*(workload(f"p{n}", workload_name="web") for n in range(5)), before=WORLD)
    made = [classes.make(world, _want(f"p{number}")) for number in range(5)]

    assert sorted(counting.runs) == sorted([CLUSTER, ENDPOINT, LISTENER])
    assert len({one.digest for one in made}) == 1
    assert all(one.sets[CLUSTER] is made[0].sets[CLUSTER] for one in made)


def test_moved_endpoints_make_nothing_else_again(classes: Classes, counting: Counting) -> None:
    found = proxy()
    first = classes.make(WORLD, _want(found=found))
    counting.runs.clear()
    moved = mesh(endpoints(WEB, "10.0.0.2"), before=WORLD)
    want = _want(lane=Lane.ENDPOINTS, digest=first.digest, before=first.sets, found=found)
    second = classes.make(moved, want)

    assert counting.runs == [ENDPOINT]
    assert second.whole
    assert second.sets[CLUSTER] is first.sets[CLUSTER]
    assert second.sets[ENDPOINT] is not first.sets[ENDPOINT]


def test_endpoints_that_change_the_class_come_first_and_alone(
    classes: Classes, counting: Counting
) -> None:
    found = proxy()
    first = classes.make(WORLD, _want(found=found))
    counting.runs.clear()
    moved = mesh(endpoints(WEB, "10.0.0.2", service_account="other"), before=WORLD)
    want = _want(lane=Lane.ENDPOINTS, digest=first.digest, before=first.sets, found=found)
    second = classes.make(moved, want)

    assert counting.runs == [ENDPOINT]
    assert not second.whole


def test_a_type_that_fails_keeps_its_last_good_set_and_no_other_notices(
    classes: Classes, counting: Counting, caplog: pytest.LogCaptureFixture
) -> None:
    found = proxy()
    first = classes.make(WORLD, _want(found=found))
    counting.failing = {LISTENER}
    world = mesh(access_policy("deny"), service("db"), before=WORLD)
    want = _want(digest=first.digest, before=first.sets, found=found)
    with caplog.at_level(logging.ERROR):
        second = classes.make(world, want)

    assert second.sets[LISTENER] is first.sets[LISTENER]
    assert set(second.sets[CLUSTER].resources) == {"web", "db"}
    assert [record.message for record in caplog.records] == ["generation failed"]


def test_a_type_that_fails_for_a_new_proxy_is_left_out(
    classes: Classes, counting: Counting
) -> None:
    counting.failing = {LISTENER}
    made = classes.make(WORLD, _want())

    assert set(made.sets) == {CLUSTER, ENDPOINT}


def test_a_failure_is_not_repeated_for_each_proxy_of_a_mesh(
    classes: Classes, counting: Counting
) -> None:
    counting.failing = {LISTENER}
    world = mesh(*(workload(f"p{n}", workload_name="web") for n in range(9)), before=WORLD)
    classes.make(world, _want("p0"))
    runs = counting.runs.count(LISTENER)
    for number in range(1, 9):
        classes.make(world, _want(f"p{number}"))

    assert counting.runs.count(LISTENER) == runs


def test_a_scope_that_fails_keeps_what_the_proxy_has(counting: Counting) -> None:
    class Broken:
        def scope(self, _mesh: Mesh, _proxy: Proxy) -> ProxyScope:
            raise RuntimeError

    classes = Classes(counting.generators, affects.types, Broken())  # type: ignore[arg-type]
    before = {CLUSTER: resource_set(CLUSTER, ())}

    assert classes.make(WORLD, _want(before=before)).sets == before


def test_a_proxy_that_is_not_who_it_says_is_refused(classes: Classes) -> None:
    def identify(_mesh: Mesh) -> Proxy:
        message = "not you"
        raise NodeError(message)

    made = classes.make(WORLD, Want(1, Lane.CONFIGURATION, identify, frozenset(), "", {}))
    assert made.refusal == "not you"


def test_sets_that_nobody_has_are_forgotten(classes: Classes, counting: Counting) -> None:
    classes.make(WORLD, _want())
    for number in range(KEPT):
        classes.make(mesh(service(f"s{number}"), before=WORLD), _want())
        classes.take_fresh()
    gc.collect()
    counting.runs.clear()
    classes.make(WORLD, _want())

    assert CLUSTER in counting.runs
    assert len(classes._sets) <= KEPT + 8


def test_what_others_have_generated_is_not_generated_again(
    classes: Classes, counting: Counting
) -> None:
    missing = classes.missing(WORLD, _want())
    assert {key.type_url for key in missing} == {CLUSTER, LISTENER}

    other = Classes(Counting().generators, affects.types)
    other.make(WORLD, _want())
    written = [(key, stored.encode(made)) for key, made in other.take_fresh()]
    assert {key for key, _ in written} == set(missing)
    classes.learn(written)
    made = classes.make(WORLD, _want())
    assert counting.runs == [ENDPOINT]
    assert set(made.sets) == {CLUSTER, ENDPOINT, LISTENER}
    assert classes.take_fresh() == []


def test_bytes_that_are_no_set_are_not_learnt(classes: Classes) -> None:
    key = classes.missing(WORLD, _want())[0]
    classes.learn([(key, b"\xc1"), (key, b"\x91\x01")])

    assert key in classes.missing(WORLD, _want())
