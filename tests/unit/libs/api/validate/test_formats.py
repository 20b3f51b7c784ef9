import pytest
from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.access_loggers.stream.v3.stream_pb2 import StdoutAccessLog
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from hypothesis import given
from hypothesis import strategies as st

from libs.api.validate.commands import COMMANDS, Takes
from libs.api.validate.formats import wrong_format
from libs.xds.generate import typed
from libs.xds.types import LISTENER, Snapshot, resource, resource_set
from tests.support.static_envoy import refusal

RIGHT = [
    "",
    "plain",
    "100%%",
    "%%%%",
    "%HOSTNAME%",
    "%PROTOCOL()%",
    "a %HOSTNAME% b %PROTOCOL%",
    "%REQ(x-user)%%REQ(:path)%",
    "%REQ(x?y)%",
    "%REQ(x):10%",
    "%REQ(a%b)%",
    '%DYNAMIC_METADATA(["a", "b"])%',
    "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)%",
    "%FILTER_STATE(a)% %FILTER_STATE(a:PLAIN)% %UPSTREAM_FILTER_STATE(a:FIELD:b)%",
    "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)%",
    "%PATH% %PATH(WQ)% %PATH(NQ:ORIG)% %PATH:5% %QUERY_PARAMS(DECODED)%",
    "%METADATA(ROUTE:a:b)%",
    "%GRPC_STATUS(NUMBER)% %REQUESTED_SERVER_NAME(SNI_FIRST:HOST)%",
    "%CEL(request.headers['a%b'])%",
    "%CEL(size(request.path) % 2)%",
    '%COALESCE({"operators": ["HOSTNAME", {"command": "REQ", "param": "x"}]})%',
]
WRONG = [
    "%",
    "a%",
    "%%%",
    "% HOSTNAME%",
    "%HOSTNAME %",
    "%HOSTNAME",
    "%hostname%",
    "%REQ(",
    "%REQ(b",
    "%REQ(b)",
    "%REQ(b)c%",
    "%REQ(b):%",
    "%REQ%",
    "%REQ()%",
    "%REQ([b])%",
    "%REQ(a b)%",
    "%REQ(a?b?c)%",
    "%REQ(:)%",
    "%REQ(a\nb)%",
    "%FOO%",
    "%FOO(x)%",
    "%PROTOCOL(x)%",
    "%PROTOCOL:3%",
    "%START_TIME:3%",
    "%FILTER_STATE(a:b)%",
    "%FILTER_STATE(a:FIELD)%",
    "%COMMON_DURATION(a)%",
    "%COMMON_DURATION(a:b:x)%",
    "%PATH(x)%",
    "%QUERY_PARAMS(x)%",
    "%METADATA(x)%",
    "%GRPC_STATUS(x)%",
    "%REQUESTED_SERVER_NAME(x)%",
    "%CEL(string(request.path))%",
    "%CEL(a +)%",
    "%COALESCE(x)%",
    "%COALESCE({})%",
    '%COALESCE({"operators": ["REQ"]})%',
]


@pytest.mark.parametrize("text", RIGHT)
def test_right(text: str) -> None:
    assert wrong_format(text) == ""


@pytest.mark.parametrize("text", WRONG)
def test_wrong(text: str) -> None:
    assert wrong_format(text)


def test_envoy_takes_what_is_right() -> None:
    assert _refusal(" ".join(RIGHT)) == ""


@pytest.mark.parametrize("text", WRONG)
def test_envoy_refuses_what_is_wrong(text: str) -> None:
    assert _refusal(text)


def test_envoy_knows_every_command_of_the_table() -> None:
    fitting = {Takes.NEEDS_ARGUMENTS: "(a)"}
    special = {"COMMON_DURATION": "(a:b)", "METADATA": "(ROUTE)", "COALESCE": ""}
    commands = [
        f"%{name}{special.get(name, fitting.get(takes, ''))}%"
        for name, takes in COMMANDS.items()
        if name != "COALESCE"
    ]
    assert _refusal(" ".join(commands)) == ""


def _refusal(text: str) -> str:
    """Return what Envoy says against a text in its access log."""
    form = SubstitutionFormatString(text_format_source=DataSource(inline_string=text))
    log = AccessLog(name="log", typed_config=typed.pack(StdoutAccessLog(log_format=form)))
    manager = hcm.HttpConnectionManager(
        stat_prefix="x",
        access_log=[log],
        route_config=RouteConfiguration(name="x"),
        http_filters=[typed.http_filter("router", Router())],
    )
    listener = Listener(
        name="x",
        address=Address(socket_address=SocketAddress(address="127.0.0.1", port_value=1)),
        filter_chains=[FilterChain(filters=[typed.network_filter("x", manager)])],
    )
    body = listener.SerializeToString(deterministic=True)
    made = resource_set(LISTENER, [resource("x", LISTENER, body=body)])
    return refusal(Snapshot({LISTENER: made}))


@given(st.text(alphabet='%()[]",\\ aA'))
def test_no_text_makes_it_raise(text: str) -> None:
    assert isinstance(wrong_format(text), str)
