from hypothesis import given
from hypothesis import strategies as st

from libs.translate.sharded import ShardedDraft

Changes = list[tuple[str, int, int | None]]
changes = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.none() | st.integers(0, 9))
)


def test_the_version_before_never_changes_and_untouched_shards_are_shared() -> None:
    before = {"a": {1: "x"}, "b": {1: "y"}}
    draft = ShardedDraft(before)
    draft.put("a", 2, "z")
    draft.drop("a", 1)
    after = draft.done()
    assert before == {"a": {1: "x"}, "b": {1: "y"}}
    assert after == {"a": {2: "z"}, "b": {1: "y"}}
    assert after["b"] is before["b"]


def test_without_a_change_it_is_the_same_object() -> None:
    before = {"a": {1: "x"}}
    draft = ShardedDraft(before)
    draft.drop("a", 7)
    draft.drop("c", 1)
    assert draft.done() is before


@given(changes, changes)
def test_it_holds_what_a_plain_map_would(first: Changes, second: Changes) -> None:
    plain: dict[tuple[str, int], int] = {}
    state = {}
    for window in (first, second):
        draft = ShardedDraft(state)
        for shard, key, value in window:
            if value is None:
                plain.pop((shard, key), None)
                draft.drop(shard, key)
            else:
                plain[shard, key] = value
                draft.put(shard, key, value)
        state = draft.done()
    assert {(shard, key): state[shard][key] for shard in state for key in state[shard]} == plain
    assert all(state.values())
