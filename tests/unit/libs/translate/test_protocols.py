import pytest

from libs.api.kubernetes import ServicePort
from libs.model.service import Protocol
from libs.translate.protocols import of_port


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("http", Protocol.HTTP),
        ("http-web", Protocol.HTTP),
        ("HTTP-web", Protocol.HTTP),
        ("http2-web", Protocol.HTTP2),
        ("https", Protocol.HTTPS),
        ("grpc", Protocol.GRPC),
        ("grpc-catalog", Protocol.GRPC),
        ("grpc-web", Protocol.GRPC_WEB),
        ("grpc-web-front", Protocol.GRPC_WEB),
        ("tcp-stock", Protocol.TCP),
        ("tls", Protocol.TLS),
        ("mongo", Protocol.MONGO),
        ("redis-cache", Protocol.REDIS),
        ("mysql", Protocol.MYSQL),
        ("web", Protocol.AUTO),
        ("web-http", Protocol.AUTO),
        ("httpx", Protocol.AUTO),
        ("udp-dns", Protocol.AUTO),
        ("", Protocol.AUTO),
    ],
)
def test_the_name_up_to_the_first_hyphen_decides(name: str, protocol: Protocol) -> None:
    assert of_port(ServicePort(port=8080, name=name)) is protocol


@pytest.mark.parametrize(
    ("written", "protocol"),
    [
        ("kubernetes.io/h2c", Protocol.HTTP2),
        ("kubernetes.io/ws", Protocol.HTTP),
        ("kubernetes.io/wss", Protocol.HTTPS),
        ("http", Protocol.HTTP),
        ("grpc", Protocol.GRPC),
        ("example.com/own", Protocol.AUTO),
    ],
)
def test_app_protocol_decides_before_the_name(written: str, protocol: Protocol) -> None:
    assert of_port(ServicePort(port=80, name="tcp-x", app_protocol=written)) is protocol


@pytest.mark.parametrize("number", [25, 53, 3306, 27017])
def test_where_the_server_speaks_first_nothing_is_detected(number: int) -> None:
    assert of_port(ServicePort(port=number, name="db")) is Protocol.TCP
    assert of_port(ServicePort(port=number, name="http-db")) is Protocol.HTTP
