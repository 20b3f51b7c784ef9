"""Answers of several replicas are one answer."""

from typing import Any

import pytest

from libs.model import changes
from services.ctl import merging


def _receipt(number: int, **fields: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    """Return a receipt as the page has it, where zeros are left out."""
    return {"change": changes.name(number), **fields}


def test_counts_of_one_change_are_added_up() -> None:
    one = _receipt(7, causes=["a"], connected=3, sent=2, acknowledged=2, observed=5.0, settled=True)
    other = _receipt(7, causes=["a"], connected=1, sent=1, pending=1, milliseconds=9.0)
    (found,) = merging.receipts([[one], [other]])
    assert (found.change, found.connected, found.sent) == (7, 4, 3)
    assert (found.acknowledged, found.pending, found.milliseconds) == (2, 1, 9.0)
    assert (found.settled, found.observed) == (False, 5.0)


def test_other_changes_stay_apart_and_in_order() -> None:
    pages = [[_receipt(9, causes=["a"]), _receipt(3, causes=["b"])], [_receipt(4, causes=["a"])]]
    assert [one.change for one in merging.receipts(pages)] == [3, 4, 9]


def test_two_replicas_of_discovery_number_the_same_change_for_themselves() -> None:
    one = _receipt(7, causes=["a"], generations=["2"], connected=3)
    other = _receipt(8, causes=["a"], generations=["2"], connected=1)
    later = _receipt(9, causes=["a"], generations=["3"], connected=4)
    first, second = merging.receipts([[one, later], [other]])
    assert (first.change, first.connected) == (7, 4)
    assert (second.change, second.connected) == (9, 4)


def test_one_replica_never_adds_to_itself() -> None:
    again = [_receipt(n, causes=["a"], generations=["2"], connected=3) for n in (7, 8)]
    assert [one.connected for one in merging.receipts([again])] == [3, 3]


def test_classes_and_refusals_come_together() -> None:
    one = _receipt(7, classes=[{"name": "x", "sent": 2, "types": ["c"]}])
    other = _receipt(
        7,
        rejected=1,
        classes=[{"name": "x", "sent": 1, "rejected": 1, "types": ["c", "l"]}, {"name": "y"}],
        rejections=[{"proxy": "web-1.shop", "text": "no"}],
    )
    (found,) = merging.receipts([[one], [other]])
    assert [(it.name, it.sent, it.rejected) for it in found.classes] == [("x", 3, 1), ("y", 0, 0)]
    assert list(found.classes[0].types) == ["c", "l"]
    assert [it.proxy for it in found.rejections] == ["web-1.shop"]


@pytest.mark.parametrize(("both", "patches"), [(True, [5]), (False, [])])
def test_a_patch_matches_nothing_only_if_it_does_so_everywhere(
    *, both: bool, patches: list[int]
) -> None:
    one = _receipt(7, patches=[{"ref": "EnvoyFilter/a/b", "proxies": 2}])
    other = _receipt(7, patches=[{"ref": "EnvoyFilter/a/b", "proxies": 3}] if both else [])
    (found,) = merging.receipts([[one], [other]])
    assert [it.proxies for it in found.patches] == patches


def test_findings_of_patches_are_counted_once_a_text() -> None:
    def page(*texts: str) -> list[dict[str, Any]]:
        findings = [{"kind": "MISFIT", "text": text, "proxies": 1} for text in texts]
        return [_receipt(7, patches=[{"ref": "EnvoyFilter/a/b", "findings": findings}])]

    (found,) = merging.receipts([page("odd"), page("odd", "worse")])
    (patch,) = found.patches
    assert [(it.text, it.proxies) for it in patch.findings] == [("odd", 2), ("worse", 1)]


def test_of_a_proxy_at_two_replicas_the_newest_stream_counts() -> None:
    pages: dict[str, list[dict[str, Any]]] = {
        "a": [{"proxy": "web.shop", "cds": 1}],
        "b": [{"proxy": "web.shop", "cds": 2}, {"proxy": "db.shop"}],
    }
    assert merging.repeated(pages)
    clients = {
        "a": {"clients": [{"connectionId": "web.shop-3", "connectedAt": "2026-01-02T00:00:00"}]},
        "b": {"clients": [{"connectionId": "web.shop-9", "connectedAt": "2026-01-01T00:00:00"}]},
    }
    found = merging.statuses(pages, merging.connections(clients))
    assert [(it["proxy"], it["replica"]) for it in found] == [("db.shop", "b"), ("web.shop", "a")]
    assert not merging.repeated({"a": [{"proxy": "web.shop"}], "b": [{"proxy": "db.shop"}]})
