import gc

from libs.proxy.memo import Memo, WeakMemo


class Owner:
    pass


def test_a_weak_memo_builds_once_for_an_owner_and_context() -> None:
    memo: WeakMemo[list[int]] = WeakMemo()
    owner, settings = Owner(), Owner()
    first = memo.get(owner, ("a", settings), lambda: [1])
    assert memo.get(owner, ("a", settings), lambda: [2]) is first
    assert memo.get(owner, ("b", settings), lambda: [3]) == [3]
    assert memo.get(owner, ("a", Owner()), lambda: [4]) == [4]


def test_a_weak_memo_forgets_with_its_owner() -> None:
    memo: WeakMemo[int] = WeakMemo()
    owner = Owner()
    memo.get(owner, (), lambda: 1)
    assert len(memo) == 1
    del owner
    gc.collect()
    assert len(memo) == 0


def test_a_weak_memo_of_one_owner_does_not_grow_without_bound() -> None:
    memo: WeakMemo[int] = WeakMemo()
    owner = Owner()
    for number in range(1000):
        memo.get(owner, (number,), lambda n=number: n)
    assert memo.get(owner, (0,), lambda: -1) == -1, "the oldest context is gone"
    assert memo.get(owner, (999,), lambda: -1) == 999


def test_a_memo_forgets_what_two_turns_did_not_ask_for() -> None:
    memo: Memo[int] = Memo()
    row = Owner()
    memo.get((row,), lambda: 1)
    memo.turn()
    assert memo.get((row,), lambda: 2) == 1
    memo.turn()
    memo.turn()
    assert memo.get((row,), lambda: 3) == 3
