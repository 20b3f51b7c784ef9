"""The ranges of OpenShift's namespaces: as whom proxies run, and what is no range."""

import pytest

from libs.inject.openshift import GROUPS, USERS, Identity, identity, unreadable, without_shared_user
from tests.support.pods import pod


@pytest.mark.parametrize(
    ("users", "groups", "expected"),
    [
        (None, None, Identity(1337, 1337)),
        ("1000620000/10000", None, Identity(1000629999, 1000629999)),
        ("1000620000-1000629999", "5-9", Identity(1000629999, 9)),
        ("7/1", "100/10,200/10", Identity(7, 109)),
        (None, "100/10", Identity(1337, 109)),
    ],
)
def test_proxies_are_the_last_of_the_range(
    users: str | None, groups: str | None, expected: Identity
) -> None:
    annotations = {name: text for name, text in ((USERS, users), (GROUPS, groups)) if text}
    assert identity(annotations) == expected
    assert unreadable(annotations) == []


@pytest.mark.parametrize(
    "text",
    ["", "many", "5", "9-5", "5/0", "0/0", "0/1", "-5/3", "1/99999999999", "2147483647/2", "5/5x"],
)
def test_what_is_no_range_leaves_the_usual_user(text: str) -> None:
    assert identity({USERS: text}) == Identity()
    assert unreadable({USERS: text}) == [USERS]


def _declared(app: int | None, proxy: int | None) -> object:
    users = {"app": app, "istio-proxy": proxy}
    given = pod(
        *(
            {"name": name, "securityContext": {"runAsGroup": 5} | ({"runAsUser": it} if it else {})}
            for name, it in users.items()
        )
    )
    (_, found) = without_shared_user(given)["spec"]["containers"]
    return found["securityContext"]


def test_a_user_that_everybody_was_given_is_not_the_proxy_s() -> None:
    assert _declared(7, 7) == {}
    assert _declared(7, 8) == {"runAsUser": 8, "runAsGroup": 5}  # somebody means it
    assert _declared(None, 8) == {"runAsUser": 8, "runAsGroup": 5}
    assert _declared(7, None) == {"runAsGroup": 5}


def test_a_pod_without_anything_is_left_alone() -> None:
    assert without_shared_user({}) == {}
    assert without_shared_user(pod()) == pod()
