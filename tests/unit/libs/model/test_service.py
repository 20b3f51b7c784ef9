import pytest

from libs.model.service import Protocol


@pytest.mark.parametrize("protocol", list(Protocol))
def test_no_protocol_is_both_seen_through_and_opaque(protocol: Protocol) -> None:
    assert not (protocol.is_http and protocol.is_tls)
    assert protocol.is_http or not protocol.is_http2


def test_what_a_proxy_can_route_by_request() -> None:
    assert {it for it in Protocol if it.is_http} == {
        Protocol.HTTP,
        Protocol.HTTP2,
        Protocol.GRPC,
        Protocol.GRPC_WEB,
    }
    assert {it for it in Protocol if it.is_tls} == {Protocol.HTTPS, Protocol.TLS}
