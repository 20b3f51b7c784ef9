"""What counts as a replica's word about a resource."""

from libs.model.ids import Ref
from libs.protos.receipts.v1.receipts_pb2 import Receipt, RefStanding, Rejection, Standing
from services.discovery.status.progress import ProgressBook, Share

ONE, TWO = Ref("VirtualService/shop/one"), Ref("VirtualService/shop/two")
UNKNOWN = Ref("Service/shop/web")


class Desk:
    def __init__(self) -> None:
        self.noted: list[Ref] = []
        self.book = ProgressBook(self.noted.append, lambda it: it != UNKNOWN)

    def share(self, reference: Ref, generation: int = 1) -> Share:
        (found,) = self.book.of(reference, generation, 0.0).shares
        return found


def receipt(*causes: Ref, generation: int = 1, **more: object) -> Receipt:
    generations = [generation] * len(causes)
    return Receipt(causes=causes, generations=generations, settled=True, **more)  # type: ignore[arg-type]


def test_the_latest_receipt_of_a_generation_counts() -> None:
    desk = Desk()
    desk.book.open("a")
    assert desk.book.of(ONE, 1, 0.0).waiting == 1
    desk.book.receipt("a", receipt(ONE, pending=2))
    desk.book.receipt("a", receipt(ONE, acknowledged=2))
    assert desk.noted == [ONE, ONE]
    assert (desk.share(ONE).acknowledged, desk.share(ONE).pending) == (2, 0)
    later = desk.book.of(ONE, 2, 0.0)
    assert (later.shares, later.waiting) == ((), 1)


def test_what_is_no_subject_is_not_remembered() -> None:
    desk = Desk()
    desk.book.open("a")
    desk.book.receipt("a", receipt(UNKNOWN, ONE))
    assert desk.noted == [ONE]
    assert desk.book.replicas["a"].keys() == {ONE}


def test_only_whom_a_refusal_names_is_blamed() -> None:
    desk = Desk()
    desk.book.open("a")
    refusal = Rejection(proxy="web-1.shop", text="no such cluster", sources=[ONE])
    desk.book.receipt("a", receipt(ONE, TWO, acknowledged=3, rejected=1, rejections=[refusal]))
    blamed, innocent = desk.share(ONE), desk.share(TWO)
    assert (blamed.rejected, blamed.refusals) == (1, ("web-1.shop: no such cluster",))
    assert (innocent.rejected, innocent.acknowledged, innocent.refusals) == (0, 4, ())


def test_a_refusal_that_names_nobody_blames_all() -> None:
    desk = Desk()
    desk.book.open("a")
    refusal = Rejection(proxy="web-1.shop", text="bad")
    desk.book.receipt("a", receipt(ONE, TWO, rejected=1, rejections=[refusal]))
    assert (desk.share(ONE).rejected, desk.share(TWO).rejected) == (1, 1)


def test_replicas_are_waited_for_one_by_one() -> None:
    desk = Desk()
    desk.book.open("a")
    desk.book.open("b")
    desk.book.receipt("a", receipt(ONE, acknowledged=1))
    assert desk.book.of(ONE, 1, 0.0).waiting == 1
    desk.book.receipt("b", receipt(ONE, acknowledged=2))
    found = desk.book.of(ONE, 1, 0.0)
    assert (sum(it.acknowledged for it in found.shares), found.waiting) == (3, 0)
    desk.noted.clear()
    desk.book.close("b")
    assert desk.noted == [ONE]
    assert len(desk.book.of(ONE, 1, 0.0).shares) == 1
    desk.book.receipt("b", receipt(ONE))  # too late
    assert len(desk.book.of(ONE, 1, 0.0).shares) == 1


def test_a_replica_that_took_the_mesh_over_later_counts_as_its_proxies_stand() -> None:
    desk = Desk()
    desk.book.open("a")
    desk.book.stands("a", Standing(connected=2, synced=1, taken_over=10.0))
    assert desk.book.of(ONE, 1, 5.0).standing[0].synced == 1
    assert desk.book.of(ONE, 1, 15.0).waiting == 1
    desk.book.receipt("a", receipt(ONE, acknowledged=2))
    assert desk.book.of(ONE, 1, 5.0).standing == ()


def test_what_has_gone_is_forgotten() -> None:
    desk = Desk()
    desk.book.open("a")
    desk.book.receipt("a", receipt(ONE, TWO))
    desk.book.forget([ONE])
    assert desk.book.replicas["a"].keys() == {TWO}


def looked(reference: Ref, concerned: int, synced: int, **more: object) -> Standing:
    one = RefStanding(ref=reference, concerned=concerned, synced=synced, **more)  # type: ignore[arg-type]
    return Standing(connected=9, synced=9, joined=9, resources=[one])


def test_who_connects_later_counts_when_one_has_looked() -> None:
    desk = Desk()
    desk.book.open("a")
    desk.book.receipt("a", receipt(ONE, TWO))
    desk.noted.clear()
    desk.book.looked("a", looked(ONE, 3, 2), desk.book.shares("a", [ONE, TWO]))
    assert desk.noted == [ONE, TWO]
    assert (desk.share(ONE).acknowledged, desk.share(ONE).pending) == (2, 1)
    desk.noted.clear()
    desk.book.looked("a", looked(ONE, 3, 2), desk.book.shares("a", [ONE, TWO]))
    assert desk.noted == []  # nothing new


def test_a_refusal_counts_until_it_is_taken_back() -> None:
    desk = Desk()
    desk.book.open("a")
    words = Rejection(proxy="web-1.shop", text="bad", sources=[ONE])
    desk.book.receipt("a", receipt(ONE, rejected=1, rejections=[words]))
    refusing = looked(ONE, 2, 1, rejecting=1, rejections=[words])
    desk.book.looked("a", refusing, desk.book.shares("a", [ONE]))
    assert desk.share(ONE).refusals == ("web-1.shop: bad",)
    desk.book.looked("a", looked(ONE, 2, 2), desk.book.shares("a", [ONE]))
    assert (desk.share(ONE).acknowledged, desk.share(ONE).rejected) == (2, 0)


def test_a_look_says_nothing_of_what_came_after_it_or_is_on_its_way() -> None:
    desk = Desk()
    desk.book.open("a")
    desk.book.receipt("a", receipt(ONE, acknowledged=5))
    asked = desk.book.shares("a", [ONE, TWO])
    desk.book.receipt("a", receipt(ONE, generation=2, acknowledged=1))
    desk.book.looked("a", looked(ONE, 5, 5), asked)
    assert desk.share(ONE, 2).acknowledged == 1
    desk.book.receipt("a", Receipt(causes=[TWO], generations=[1], pending=1))
    desk.book.looked("a", looked(TWO, 5, 5), desk.book.shares("a", [TWO]))
    assert desk.share(TWO).pending == 1
    desk.book.looked("a", looked(ONE, 7, 7), desk.book.shares("a", [ONE]))
    desk.book.receipt("a", receipt(ONE, generation=2, acknowledged=3))
    assert desk.share(ONE, 2).acknowledged == 3


def test_a_look_says_nothing_of_a_generation_that_the_replica_has_not_seen() -> None:
    desk = Desk()
    desk.book.open("a")
    desk.book.receipt("a", receipt(ONE, acknowledged=5))
    desk.book.looked("a", looked(ONE, 5, 5), desk.book.shares("a", [ONE]))
    assert desk.book.of(ONE, 2, 0.0).waiting == 1


def test_a_replica_that_does_not_tell_counts_as_a_whole() -> None:
    desk = Desk()
    desk.book.open("a")
    old = Standing(connected=2, synced=2, taken_over=10.0)
    desk.book.looked("a", old, desk.book.shares("a", [ONE]))
    assert desk.book.of(ONE, 1, 5.0).standing[0].synced == 2


def test_a_fleet_that_is_away_changes_nothing_and_one_that_moved_does() -> None:
    desk = Desk()
    desk.book.open("a")
    desk.book.receipt("a", receipt(ONE, acknowledged=3))
    away = Standing(joined=9)
    desk.book.looked("a", away, desk.book.shares("a", [ONE]))
    assert desk.share(ONE).acknowledged == 3
    desk.book.open("b")
    desk.book.stands("b", Standing(connected=3, joined=3))
    desk.book.looked("a", away, desk.book.shares("a", [ONE]))
    assert desk.share(ONE).acknowledged == 0
