import pytest

from libs.api.validate.stream_routes import is_block
from tests.support.rulings import of_virtual_service

TO = "route: [{destination: {host: a}}]"


def of_tls(match: str, hosts: str = "a.b", gateways: str = "") -> list[str]:
    spec = f"hosts: [{hosts}]\ngateways: [{gateways}]\ntls: [{{match: [{match}], {TO}}}]"
    return [line.replace("spec.tls[0].match[0]", "") for line in of_virtual_service(spec)]


def of_tcp(match: str) -> list[str]:
    spec = f"hosts: [a]\ntcp: [{{match: [{match}], {TO}}}]"
    return [line.replace("spec.tcp[0].match[0].", "") for line in of_virtual_service(spec)]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{sniHosts: [a.b]}", "{sniHosts: []}", ".sniHosts MissingField"),
        ("{sniHosts: [a.b]}", "{}", ".sniHosts MissingField"),
        ("{sniHosts: [a.b]}", "{sniHosts: [a.c]}", ".sniHosts[0] InvalidSni"),
        ("{sniHosts: [a.b]}", "{sniHosts: ['*.b']}", ".sniHosts[0] InvalidSni"),
        ("{sniHosts: [a.b]}", "{sniHosts: ['a_b']}", ".sniHosts[0] InvalidSni"),
        ("{sniHosts: [a.b], port: 443}", "{sniHosts: [a.b], port: 70000}", ".port InvalidPort"),
    ],
)
def test_tls(good: str, bad: str, found: str) -> None:
    assert of_tls(good) == []
    assert of_tls(bad) == [found]


def test_a_wildcard_covers_its_sni() -> None:
    assert of_tls("{sniHosts: [a.b, '*.c.b']}", hosts="'*.b'") == []


def test_an_address_is_no_good_sni() -> None:
    assert of_tls("{sniHosts: [1.2.3.4]}") == ["warning .sniHosts[0] InvalidSni"]


def test_gateways_know_the_sni_of_the_mesh() -> None:
    made_up, covered = "{sniHosts: [outbound_.80_._.a.b]}", "'*.b'"
    assert of_tls(made_up, covered, "edge") == []
    assert of_tls(made_up, covered, "edge, mesh") == [".sniHosts[0] InvalidSni"]
    assert of_tls("{sniHosts: [outbound_.x_._.1]}", covered, "edge") == [".sniHosts[0] InvalidSni"]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "{destinationSubnets: [10.0.0.0/8]}",
            "{destinationSubnets: [a]}",
            "destinationSubnets[0] I",
        ),
        ("{port: 0}", "{port: 65536}", "port InvalidPort"),
        ("{sourceLabels: {a: b}}", "{sourceLabels: {a b: c}}", "sourceLabels[a b] InvalidLabel"),
        ("{gateways: [mesh]}", "{gateways: [a/]}", "gateways[0] InvalidGateway"),
    ],
)
def test_tcp(good: str, bad: str, found: str) -> None:
    assert of_tcp(good) == []
    (error,) = of_tcp(bad)
    assert error.startswith(found)


def test_connections_have_to_go_somewhere() -> None:
    assert of_virtual_service("hosts: [a]\ntcp: [{}]") == ["spec.tcp[0].route MissingField"]
    tls = "hosts: [a.b]\ntls: [{match: [{sniHosts: [a.b]}]}]"
    assert of_virtual_service(tls) == ["spec.tls[0].route MissingField"]
    tls = f"hosts: [a.b]\ntls: [{{match: [], {TO}}}]"
    assert of_virtual_service(tls) == ["spec.tls[0].match MissingField"]


@pytest.mark.parametrize(
    "block", ["1.2.3.4", "10.0.0.0/8", "10.1.2.3/8", "::/0", "2001:db8::1/64", "fe80::1%eth0"]
)
def test_blocks(block: str) -> None:
    assert is_block(block)


@pytest.mark.parametrize(
    "block",
    ["", "a", "1.2.3", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/08", "1.2.3.4/+8", "1.2.3.4/255.0.0.0"],
)
def test_what_is_no_block(block: str) -> None:
    assert not is_block(block)
