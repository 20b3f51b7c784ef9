"""What is waited for, and how a status ends it."""

import json

import pytest

from services.ctl.wait import Latest, Verdict, judged, parse


@pytest.mark.parametrize(
    "written",
    [
        "VirtualService/shop/routes",
        "virtualservice/shop/routes",
        "virtualservices/shop/routes",
        "virtualservices.networking.istio.io/shop/routes",
        "vs/shop/routes",
    ],
)
def test_kinds_are_written_as_for_kubectl(written: str) -> None:
    assert parse(written, "default").ref == "VirtualService/shop/routes"


def test_the_namespace_may_be_given_apart() -> None:
    assert parse("gw/edge", "istio-system").ref == "Gateway/istio-system/edge"


@pytest.mark.parametrize("written", ["routes", "Nonsense/routes", "Pod/web", "vs/", "/routes", ""])
def test_anything_else_is_refused_with_the_kinds_there_are(
    written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(written, "default")
    assert ended.value.code == 2
    assert "VirtualService" in capsys.readouterr().err


def _object(*conditions: tuple[str, str, str], generation: int = 3, of: int = 3) -> bytes:
    found = [
        {"type": kind, "status": status, "message": message, "observedGeneration": of}
        for kind, status, message in conditions
    ]
    return json.dumps(
        {"metadata": {"generation": generation}, "status": {"conditions": found}}
    ).encode()


ACCEPTED = ("Accepted", "True", "")


@pytest.mark.parametrize(
    ("raw", "verdict"),
    [
        (
            _object(ACCEPTED, ("Programmed", "True", "2 of 2")),
            Verdict(done=True, text="2 of 2"),
        ),
        (
            _object(ACCEPTED, ("Programmed", "False", "a.shop: no")),
            Verdict(done=False, text="a.shop: no"),
        ),
        (
            _object(("Accepted", "False", "spec: bad"), ("Programmed", "True", "2 of 2")),
            Verdict(done=False, text="not accepted: spec: bad"),
        ),
        (_object(ACCEPTED, ("Programmed", "Unknown", "1 of 2")), None),
        (_object(ACCEPTED, ("Programmed", "True", "2 of 2"), of=2), None),
        (_object(ACCEPTED), None),
        (b'{"metadata": {"generation": 1}}', None),
    ],
)
def test_only_conditions_of_the_latest_generation_end_it(
    raw: bytes, verdict: Verdict | None
) -> None:
    assert judged(raw, Latest()) == verdict


def test_the_last_words_are_those_of_the_status() -> None:
    latest = Latest()
    judged(_object(ACCEPTED, ("Programmed", "Unknown", "1 of 2 proxies acknowledged")), latest)
    assert latest.text == "1 of 2 proxies acknowledged"
