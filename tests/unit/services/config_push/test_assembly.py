import pytest

from libs.model import wire
from libs.model.mesh import Key, Mesh, Table
from libs.protos.feed.v1.feed_pb2 import MeshUpdate, Row, RowKey
from services.config_push.assembly import Assembly
from services.config_push.errors import FeedGapError
from tests.support.mesh import row_key, service, workload

A, B = service("a"), service("b")
NEWER_A = service("a", labels={"new": "yes"})


def _row(row: object) -> Row:
    key = row_key(row)  # type: ignore[arg-type]
    return Row(type=key.table, key=key.key, body=wire.encode(row))  # type: ignore[arg-type]


def _update(sequence: int, *rows: object, **fields: object) -> MeshUpdate:
    return MeshUpdate(sequence=sequence, rows=map(_row, rows), **fields)  # type: ignore[arg-type]


def _snapshot(sequence: int, *rows: object, **fields: object) -> MeshUpdate:
    return _update(sequence, *rows, snapshot=True, **fields)


def test_a_snapshot_in_parts_is_a_mesh_only_when_it_is_whole() -> None:
    assembly = Assembly()
    assert assembly.add(_snapshot(1, A, more=True)) is None
    assert assembly.mesh == Mesh()
    delta = assembly.add(_snapshot(2, B, change=7))

    assert set(assembly.mesh.services) == {A.key, B.key}
    assert delta is not None
    assert (delta.change, delta.tables) == (7, {Table.SERVICE})


def test_a_change_says_what_moved_and_why() -> None:
    assembly = Assembly()
    assembly.add(_snapshot(1, A, B))
    gone = [RowKey(type=Table.SERVICE, key=B.key)]
    delta = assembly.add(
        _update(
            2,
            NEWER_A,
            removed=gone,
            change=3,
            causes=["Service/shop/a"],
            generations=[4],
            observed=5.5,
        )
    )

    assert delta is not None
    assert delta.changed == {Key(Table.SERVICE, A.key)}
    assert delta.removed == {Key(Table.SERVICE, B.key)}
    assert (delta.change, delta.causes, delta.observed) == (3, ("Service/shop/a",), 5.5)
    assert delta.generations == (4,)
    assert assembly.mesh.services == {A.key: NEWER_A}


def test_after_a_restart_only_real_differences_are_a_change() -> None:
    assembly = Assembly()
    assembly.add(_snapshot(1, A, B))
    before = assembly.mesh
    assembly.restart()
    same = assembly.add(_snapshot(1, A, B))
    assert not same
    assert assembly.mesh is before

    assembly.restart()
    delta = assembly.add(_snapshot(1, NEWER_A))
    assert delta is not None
    assert (len(delta.changed), len(delta.removed)) == (1, 1)


def test_rows_that_stay_equal_stay_the_same_objects() -> None:
    assembly = Assembly()
    pod = workload("p")
    assembly.add(_snapshot(1, A, pod))
    services, kept = assembly.mesh.rows(Table.SERVICE), assembly.mesh.workloads[pod.key]
    assembly.restart()
    assembly.add(_snapshot(1, A, pod, B))

    assert assembly.mesh.workloads[pod.key] is kept
    assert assembly.mesh.services[A.key] is services[A.key]


@pytest.mark.parametrize(
    "updates",
    [
        pytest.param([_snapshot(1, A), _update(3, B)], id="a message is missing"),
        pytest.param([_snapshot(2, A)], id="the first message is missing"),
        pytest.param([_update(1, A)], id="no snapshot"),
        pytest.param([_snapshot(1, A), _snapshot(1, A)], id="a message comes twice"),
    ],
)
def test_a_gap_is_noticed(updates: list[MeshUpdate]) -> None:
    assembly = Assembly()
    *good, bad = updates
    for update in good:
        assembly.add(update)
    with pytest.raises(FeedGapError):
        assembly.add(bad)


def test_a_row_that_cannot_be_read_keeps_its_last_good_state() -> None:
    assembly = Assembly()
    assembly.add(_snapshot(1, A, B))
    broken = Row(type=Table.SERVICE, key=A.key, body=b"\xc1")
    assembly.add(MeshUpdate(sequence=2, rows=[broken]))
    assert assembly.mesh.services[A.key] == A

    assembly.restart()
    assembly.add(MeshUpdate(sequence=1, snapshot=True, rows=[broken, _row(B)]))
    assert assembly.mesh.services == {A.key: A, B.key: B}


def test_tables_of_a_newer_discovery_are_left_alone() -> None:
    assembly = Assembly()
    unknown = Row(type="gateway_of_tomorrow", key="x", body=b"")
    gone = [RowKey(type="gateway_of_tomorrow", key="y")]
    assembly.add(MeshUpdate(sequence=1, snapshot=True, rows=[unknown, _row(A)], removed=gone))

    assert set(assembly.mesh.tables) == {Table.SERVICE}
