import pytest

from tests.support.rulings import manifest, ruling

PORT = "port: {number: 80, protocol: HTTP}"
TLS = (
    "port: {number: 443, protocol: HTTPS}, tls: {mode: SIMPLE, serverCertificate: a, privateKey: b"
)


def of_sidecar(spec: str) -> list[str]:
    return ruling(manifest("Sidecar", spec))


def of_ingress(*listeners: str) -> list[str]:
    found = of_sidecar("ingress:\n" + "\n".join(f"- {{{fields}}}" for fields in listeners))
    return [line.replace("spec.ingress", "") for line in found]


def of_egress(*listeners: str) -> list[str]:
    found = of_sidecar("egress:\n" + "\n".join(f"- {{{fields}}}" for fields in listeners))
    return [line.replace("spec.egress", "") for line in found]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (PORT, "bind: 1.2.3.4", "[0].port MissingField"),
        (PORT, "port: {number: 0, protocol: HTTP}", "[0].port.number InvalidPort"),
        (PORT, "port: {number: 80, protocol: X}", "[0].port.protocol InvalidProtocol"),
        (PORT, "port: {number: 80, name: a_b}", "[0].port.name InvalidName"),
        (PORT, "port: {number: 80, targetPort: 1}", "[0].port.targetPort ConflictingFields"),
        (f"{PORT}, bind: '::1'", f"{PORT}, bind: unix:///a", "[0].bind InvalidAddress"),
        (f"{TLS}}}", f"{TLS}, httpsRedirect: true}}", "[0].tls.httpsRedirect Conflicting"),
        (f"{TLS}}}", f"{TLS}, subjectAltNames: [a]}}", "[0].tls.subjectAltNames Conflicting"),
        (
            f"{TLS}}}",
            "port: {number: 443, protocol: TLS}, tls: {mode: AUTO_PASSTHROUGH}",
            "[0].tls.mode ConflictingFields",
        ),
        (f"{TLS}}}", f"{PORT}, tls: {{mode: PASSTHROUGH}}", "[0].tls ConflictingFields"),
        (f"{TLS}}}", "port: {number: 1, protocol: TLS}, tls: {mode: SIMPLE, privateKey: a}", "[0]"),
        (
            f"{PORT}, connectionPool: {{http: {{}}}}",
            "port: {number: 80, protocol: TCP}, connectionPool: {http: {}}",
            "warning [0].connectionPool.http NoEffect",
        ),
    ],
)
def test_ingress(good: str, bad: str, found: str) -> None:
    assert of_ingress(good) == []
    (said,) = of_ingress(bad)
    assert said.startswith(found)


@pytest.mark.parametrize(
    "endpoint",
    ["127.0.0.1:80", "0.0.0.0:80", "'[::1]:80'", "'[::]:80'", "':80'", "unix:///a", "unix://@a"],
)
def test_where_ingress_goes_on(endpoint: str) -> None:
    assert of_ingress(f"{PORT}, defaultEndpoint: {endpoint}") == []


@pytest.mark.parametrize(
    "endpoint",
    [
        "1.2.3.4:80",
        "'::1:80'",
        "'[127.0.0.1]:80'",
        "localhost:80",
        "127.0.0.1",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:http",
        "unix://a",
    ],
)
def test_and_where_it_cannot(endpoint: str) -> None:
    assert of_ingress(f"{PORT}, defaultEndpoint: {endpoint}") == [
        "[0].defaultEndpoint InvalidAddress"
    ]


def test_each_port_has_one_listener() -> None:
    assert of_ingress(PORT, PORT.replace("80", "81")) == []
    assert of_ingress(PORT, PORT) == ["[1].port.number DuplicatePort"]
    egress = f"{PORT}, hosts: ['*/*']"
    assert of_egress(egress, egress.replace("80", "81")) == []
    assert of_egress(egress, egress) == ["[1].port.number DuplicatePort"]


def test_only_the_last_egress_listener_has_no_port() -> None:
    port, rest = f"{PORT}, hosts: ['*/*']", "hosts: ['*/*']"
    assert of_egress(port, rest) == []
    assert of_egress(rest, port) == ["[0] ConflictingFields"]
    assert of_egress(rest, rest) == ["[0] ConflictingFields"]


def test_without_a_port_an_address_is_bound_to_where_nothing_is_captured() -> None:
    free = "captureMode: NONE, hosts: ['*/*']"
    assert of_egress(free) == []
    assert of_egress(f"bind: 127.0.0.9, {free}") == []
    assert of_egress("bind: 127.0.0.9, hosts: ['*/*']") == ["warning [0].bind NoEffect"]
    assert of_egress(f"bind: unix:///a, {free}") == ["warning [0].bind NoEffect"]
    assert of_egress(f"bind: localhost, {free}") == ["warning [0].bind NoEffect"]
    assert of_egress("captureMode: IPTABLES, hosts: ['*/*']") == []
    assert of_egress(f"{PORT}, captureMode: NONE, hosts: ['*/*']") == []
    assert of_egress(f"{PORT}, bind: 127.0.0.9, hosts: ['*/*']") == []


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("port: {number: 0}, bind: unix:///a", "port: {number: 0}", "[0].bind MissingField"),
        ("port: {}, bind: unix:///a", "port: {}, bind: unix://a", "[0].bind InvalidAddress"),
        (
            "port: {}, bind: unix:///a, captureMode: NONE",
            "port: {}, bind: unix:///a, captureMode: IPTABLES",
            "[0].captureMode ConflictingFields",
        ),
        (f"{PORT}, bind: 1.2.3.4", f"{PORT}, bind: unix:///a", "[0].bind InvalidAddress"),
        (PORT, "port: {number: 65536}", "[0].port.number InvalidPort"),
    ],
)
def test_where_egress_listens(good: str, bad: str, found: str) -> None:
    assert of_egress(f"{good}, hosts: ['*/*']") == []
    assert of_egress(f"{bad}, hosts: ['*/*']") == [found]


def test_sockets_are_there_once() -> None:
    socket = "port: {number: 0}, bind: unix:///a, hosts: ['*/*']"
    assert of_egress(socket, socket) == ["[1].bind DuplicatePort"]


@pytest.mark.parametrize(
    "host", ["*/*", "./*", "ns/a.b", "ns/*.a.b", "~/*", "~ns/a.b", "~./a.b", "ns/a.b."]
)
def test_hosts_of_egress(host: str) -> None:
    assert of_egress(f"hosts: ['{host}']") == []


@pytest.mark.parametrize("host", ["a.b", "ns/a", "ns/", "/a.b", "N_s/a.b", "ns/*a.b", "ns/1.2.3.4"])
def test_hosts_that_cannot_be(host: str) -> None:
    assert of_egress(f"hosts: ['{host}']") == ["[0].hosts[0] InvalidHost"]


def test_hosts_are_there_once() -> None:
    assert of_egress("hosts: []") == ["[0].hosts MissingField"]
    assert of_egress("hosts: [ns/a.b, ns/c.d, other/a.b, ~ns/a.b]") == []
    assert of_egress("hosts: [./a.b, here/a.b]") == ["warning [0].hosts[1] DuplicateHost"]
    assert of_egress("hosts: [ns/a.b, ns/*]") == ["warning [0].hosts[1] DuplicateHost"]
    assert of_egress("hosts: ['*/*', ns/a.b]") == ["warning [0].hosts DuplicateHost"]
