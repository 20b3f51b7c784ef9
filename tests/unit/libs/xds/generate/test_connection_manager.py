import pytest
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from msgspec import structs

from libs.model.security import MtlsMode
from libs.model.service import Protocol
from libs.model.settings import MeshSettings
from libs.model.telemetry import MetricsRule, SideTelemetry, Telemetry
from libs.proxy.inbound import inbound_scope
from libs.proxy.scope import InboundPort
from libs.xds.generate.connection_manager import http_connection_manager
from libs.xds.generate.filters import alpn, fault
from libs.xds.generate.metrics import Direction
from tests.support import listeners as read
from tests.support import mesh as rows

OWN = inbound_scope(rows.mesh(), rows.proxy())
Manager = hcm.HttpConnectionManager
Escaped = Manager.PathWithEscapedSlashesAction


def manager(direction: Direction, settings: MeshSettings | None = None) -> Manager:
    own = structs.replace(OWN, settings=settings or MeshSettings())
    return read.manager(
        http_connection_manager(
            own=own,
            direction=direction,
            stat_prefix="x",
            routes="80",
            filters=(fault.FILTER, alpn.FILTER),
        )
    )


@pytest.mark.parametrize(
    ("mode", "normalises", "merges", "escaped"),
    [
        ("NONE", False, False, Escaped.KEEP_UNCHANGED),
        ("BASE", True, False, Escaped.KEEP_UNCHANGED),
        ("DEFAULT", True, False, Escaped.KEEP_UNCHANGED),
        ("MERGE_SLASHES", True, True, Escaped.KEEP_UNCHANGED),
        ("DECODE_AND_MERGE_SLASHES", True, True, Escaped.UNESCAPE_AND_FORWARD),
    ],
)
def test_paths_are_normalised_as_the_mesh_says(
    mode: str, escaped: Escaped.ValueType, *, normalises: bool, merges: bool
) -> None:
    found = manager("inbound", MeshSettings(path_normalization=mode))
    assert found.normalize_path.value is normalises
    assert found.merge_slashes is merges
    assert found.path_with_escaped_slashes_action == escaped


def test_only_the_servers_proxy_tells_the_application_who_called() -> None:
    inbound, outbound = manager("inbound"), manager("outbound")
    details = Manager.ForwardClientCertDetails
    assert inbound.forward_client_cert_details == details.APPEND_FORWARD
    current = inbound.set_current_client_cert_details
    assert (current.subject.value, current.dns, current.uri) == (True, True, True)
    assert outbound.forward_client_cert_details == details.SANITIZE


def test_common_options() -> None:
    for direction in ("inbound", "outbound"):
        found = manager(direction)
        assert found.HasField("use_remote_address")
        assert not found.use_remote_address.value, "the first proxy of a mesh is not an edge"
        assert found.HasField("stream_idle_timeout")
        assert found.stream_idle_timeout.ToMilliseconds() == 0
        assert [upgrade.upgrade_type for upgrade in found.upgrade_configs] == ["websocket"]
        assert found.HasField("request_id_extension")


def test_filters_stand_in_order_with_the_router_last() -> None:
    names = [one.name for one in manager("outbound").http_filters]
    assert names == [
        "istio.metadata_exchange",
        "istio.grpc_messages",
        "envoy.filters.http.grpc_stats",
        "istio.alpn",
        "envoy.filters.http.fault",
        "envoy.filters.http.router",
    ]


def test_routes_are_inline_or_fetched_over_ads() -> None:
    assert manager("outbound").rds.route_config_name == "80"
    assert manager("outbound").rds.config_source.HasField("ads")
    inline = RouteConfiguration(name="inline")
    found = read.manager(
        http_connection_manager(own=OWN, direction="inbound", stat_prefix="x", routes=inline)
    )
    assert found.route_config == inline


@pytest.mark.parametrize(
    "wanted",
    [
        SideTelemetry(metrics=False),
        SideTelemetry(overrides=(MetricsRule(disabled=True),)),
        SideTelemetry(
            overrides=tuple(
                MetricsRule(metric=f"{way}_messages_total", disabled=True)
                for way in ("request", "response")
            )
        ),
    ],
)
def test_nothing_looks_at_messages_where_they_are_not_counted(wanted: SideTelemetry) -> None:
    own = structs.replace(OWN, telemetry=Telemetry(server=wanted))
    inbound, outbound = (
        read.manager(
            http_connection_manager(own=own, direction=direction, stat_prefix="x", routes="80")
        )
        for direction in ("inbound", "outbound")
    )
    names = {"istio.grpc_messages", "envoy.filters.http.grpc_stats"}
    assert not names & {one.name for one in inbound.http_filters}
    assert names <= {one.name for one in outbound.http_filters}, "of that side it is still wanted"


@pytest.mark.parametrize(
    ("protocol", "counted"),
    [
        (Protocol.HTTP, False),
        (Protocol.HTTP2, True),
        (Protocol.GRPC, True),
        (Protocol.GRPC_WEB, True),
        (Protocol.AUTO, True),
    ],
)
def test_a_port_of_plain_http_pays_nothing_for_messages(
    protocol: Protocol, *, counted: bool
) -> None:
    port = InboundPort(port=80, protocol=protocol, mode=MtlsMode.STRICT)
    found = read.manager(
        http_connection_manager(
            own=OWN, direction="inbound", stat_prefix="x", routes="80", port=port
        )
    )
    assert ("istio.grpc_messages" in {one.name for one in found.http_filters}) is counted
    stats = [one.name for one in found.access_log if "stats" in one.typed_config.type_url]
    assert len(stats) == (2 if counted else 1)
