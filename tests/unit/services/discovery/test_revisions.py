import msgspec
import pytest

from libs.api.registry import KINDS, Kind
from libs.kube.follow import Change
from libs.kube.list import Name
from services.discovery.revisions import Revisions

ROUTING = next(kind for kind in KINDS if kind.name == "VirtualService")
SERVICE = next(kind for kind in KINDS if kind.name == "Service")


def change(text: str) -> Change:
    return Change(Name("shop", "one"), msgspec.Raw(text.encode()))


def labelled(revision: str) -> Change:
    return change(f'{{"metadata": {{"labels": {{"istio.io/rev": "{revision}"}}}}, "spec": {{}}}}')


@pytest.mark.parametrize(
    ("own", "given"),
    [
        ("", labelled("default")),
        ("default", labelled("default")),
        ("canary", labelled("canary")),
        ("canary", change('{"metadata": {"labels": null}}')),
        ("canary", change('{"metadata": {"name": "one"}}')),
        ("canary", change("{}")),
        ("canary", change('{"metadata": {"labels": 7}}')),
        ("canary", Change(Name("shop", "one"), None)),
    ],
)
def test_what_is_ours_or_everybodys_stays(own: str, given: Change) -> None:
    assert Revisions(own).part(ROUTING, [given]) == ([given], {})


@pytest.mark.parametrize(("own", "other"), [("default", "canary"), ("canary", "default")])
def test_what_is_given_to_another_revision_has_gone_and_is_said(own: str, other: str) -> None:
    parted, said = Revisions(own).part(ROUTING, [labelled(other)])
    assert [it.raw for it in parted] == [None]
    (problem,) = said.values()
    assert problem.ref == "VirtualService/shop/one"
    assert other in problem.text


def test_services_have_no_revision() -> None:
    given: list[Change] = [labelled("canary")]
    kind: Kind = SERVICE
    assert Revisions("default").part(kind, given) == (given, {})
