import pytest

from tests.support.rulings import manifest, ruling


def of_gateway(spec: str) -> list[str]:
    return ruling(manifest("Gateway", f"selector: {{istio: it}}\n{spec}"))


def of_server(fields: str, port: str = "{number: 80, protocol: HTTP, name: a}") -> list[str]:
    return [
        line.replace("spec.servers[0].", "")
        for line in of_gateway(f"servers:\n- {{port: {port}, hosts: ['*'], {fields}}}")
    ]


def of_port(port: str) -> list[str]:
    return of_server("tls: {}" if "TLS" in port or "HTTPS" in port else "", port)


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ['*']}]",
            "servers: []",
            "spec.servers MissingField",
        ),
        (
            "servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ['*']}]",
            "servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: []}]",
            "spec.servers[0].hosts MissingField",
        ),
        (
            "servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ['*']}]",
            "servers: [{port: {number: 80, protocol: HTTP}, hosts: ['*']}]",
            "spec.servers[0].port.name MissingField",
        ),
        (
            (
                "servers:\n"
                "- {port: {number: 80, protocol: HTTP, name: a}, hosts: ['*']}\n"
                "- {port: {number: 81, protocol: HTTP, name: b}, hosts: ['*']}"
            ),
            (
                "servers:\n"
                "- {port: {number: 80, protocol: HTTP, name: a}, hosts: ['*']}\n"
                "- {port: {number: 81, protocol: HTTP, name: a}, hosts: ['*']}"
            ),
            "spec.servers[1].port.name DuplicatePort",
        ),
    ],
)
def test_gateways(good: str, bad: str, found: str) -> None:
    assert of_gateway(good) == []
    assert of_gateway(bad) == [found]


@pytest.mark.parametrize("host", ["a.b", "*.a.b", "*", "1.2.3.4", "ns/a.b", "./*", "*/*.a.b"])
def test_hosts(host: str) -> None:
    spec = f"servers: [{{port: {{number: 80, protocol: HTTP, name: a}}, hosts: ['{host}']}}]"
    assert of_gateway(spec) == []


@pytest.mark.parametrize("host", ["", "a", "*a.b", "a.*", "/a.b", "ns/", "~/a.b", "N_s/a.b", "::1"])
def test_hosts_that_cannot_be(host: str) -> None:
    spec = f"servers: [{{port: {{number: 80, protocol: HTTP, name: a}}, hosts: ['{host}']}}]"
    assert of_gateway(spec) == ["spec.servers[0].hosts[0] InvalidHost"]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "{number: 80, protocol: http2, name: a}",
            "{number: 80, protocol: QUIC, name: a}",
            "port.protocol InvalidProtocol",
        ),
        (
            "{number: 80, protocol: TCP, name: a}",
            "{number: 80, protocol: '', name: a}",
            "port.protocol InvalidProtocol",
        ),
        (
            "{number: 65535, protocol: TCP, name: a}",
            "{number: 65536, protocol: TCP, name: a}",
            "port.number InvalidPort",
        ),
        (
            "{number: 80, protocol: TCP, name: a}",
            "{number: 80, protocol: TCP, name: ''}",
            "port.name EmptyValue",
        ),
        (
            "{number: 80, protocol: TCP, name: a}",
            "{number: 80, protocol: TCP, name: a, targetPort: 81}",
            "port.targetPort ConflictingFields",
        ),
    ],
)
def test_ports(good: str, bad: str, found: str) -> None:
    assert of_port(good) == []
    assert of_port(bad) == [found]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("bind: '::1'", "bind: localhost", "bind InvalidAddress"),
        (
            "tls: {httpsRedirect: true}",
            "tls: {mode: SIMPLE, credentialName: a}",
            "tls ConflictingFields",
        ),
        ("", "defaultEndpoint: '127.0.0.1:80'", "warning defaultEndpoint NoEffect"),
    ],
)
def test_servers(good: str, bad: str, found: str) -> None:
    assert of_server(good) == []
    assert of_server(bad) == [found]


def test_a_server_may_have_a_socket_instead_of_a_port() -> None:
    port = "{number: 0, protocol: HTTP, name: a}"
    assert of_server("bind: unix:///run/it", port) == []
    assert of_server("bind: unix://@it", port) == []
    assert of_server("bind: unix://run/it", port) == ["bind InvalidAddress"]
    assert of_server("bind: unix:///run/it") == ["port.number ConflictingFields"]
    assert of_server("", port) == ["port.number InvalidPort"]


def test_protocols_and_tls_go_together() -> None:
    https, tcp = "{number: 1, protocol: HTTPS, name: a}", "{number: 1, protocol: TCP, name: a}"
    simple = "tls: {mode: SIMPLE, credentialName: a}"
    assert of_server(simple, https) == []
    assert of_server("", https) == ["tls MissingField"]
    assert of_server(simple, tcp) == ["tls ConflictingFields"]
    redirect = "tls: {mode: SIMPLE, credentialName: a, httpsRedirect: true}"
    assert of_server(redirect, https) == ["warning tls.httpsRedirect NoEffect"]


def test_its_name_has_no_dots_and_its_selector_says_something() -> None:
    spec = "servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ['*']}]"
    assert ruling(manifest("Gateway", spec, name="a.b")) == [
        "metadata.name InvalidName",
        "warning spec.selector EmptySelector",
    ]
