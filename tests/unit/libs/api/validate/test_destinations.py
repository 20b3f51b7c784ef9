import pytest

from tests.support.rulings import of_action, of_virtual_service


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{host: a}", "{host: ''}", "host InvalidHost"),
        ("{host: '*.b'}", "{host: '*'}", "host InvalidHost"),
        ("{host: a.b.svc}", "{host: 1.2.3.4}", "host InvalidHost"),
        ("{host: a, subset: v1}", "{host: a, subset: v.1}", "subset InvalidName"),
        ("{host: a, port: {number: 1}}", "{host: a, port: {number: 0}}", "port.number InvalidPort"),
        ("{host: a, port: {number: 1}}", "{host: a, port: {}}", "port.number InvalidPort"),
        ("{host: a}", "{}", "host MissingField"),
    ],
)
def test_destinations(good: str, bad: str, found: str) -> None:
    assert of_action(f"route: [{{destination: {good}}}]") == []
    assert of_action(f"route: [{{destination: {bad}}}]") == [f"route[0].destination.{found}"]


A, B = "{destination: {host: a}, weight: %s}", "{destination: {host: b}, weight: %s}"


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (f"[{A % 0}]", f"[{A % -1}]", "route[0].weight InvalidWeight"),
        (f"[{A % 0}, {B % 1}]", f"[{A % 0}, {B % 0}]", "route InvalidWeight"),
        (f"[{A % 70}, {B % 70}]", f"[{A % -70}, {B % 71}]", "route[0].weight InvalidWeight"),
    ],
)
def test_weights(good: str, bad: str, found: str) -> None:
    assert of_action(f"route: {good}") == []
    assert of_action(f"route: {bad}") == [found]
    tcp = f"hosts: [a]\ntcp: [{{route: {bad}}}]"
    assert of_virtual_service(tcp) == [f"spec.tcp[0].{found}"]
