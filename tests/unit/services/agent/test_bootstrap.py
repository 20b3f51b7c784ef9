import json

from envoy.config.bootstrap.v3 import bootstrap_pb2

# Any in a bootstrap is found by its type, which has to be loaded.
from envoy.extensions.compression.gzip.compressor.v3 import gzip_pb2  # noqa: F401
from envoy.extensions.filters.http.compressor.v3 import compressor_pb2  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,  # noqa: F401
)
from envoy.extensions.resource_monitors.downstream_connections.v3 import (
    downstream_connections_pb2,  # noqa: F401
)
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2  # noqa: F401
from google.protobuf import json_format

from services.agent.bootstrap import Bootstrap, render
from services.agent.proxy_config import StatsMatcher

NODE = {"id": "sidecar~10.0.0.7~web.shop~shop.svc.cluster.local", "cluster": "web.shop"}


def rendered(**fields: object) -> bootstrap_pb2.Bootstrap:
    given = Bootstrap(
        node=NODE,
        xds_socket="etc/XDS",
        sds_socket="run/sds",
        tally_socket="etc/TALLY",
        **fields,  # type: ignore[arg-type]
    )
    return json_format.Parse(json.dumps(render(given)), bootstrap_pb2.Bootstrap())


def test_configuration_and_secrets_come_from_the_agents_sockets() -> None:
    made = rendered()
    pipes = {
        one.name: one.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.pipe.path
        for one in made.static_resources.clusters
    }
    assert pipes["xds-grpc"] == "etc/XDS"
    assert pipes["sds-grpc"] == "run/sds"
    assert pipes["tally-grpc"] == "etc/TALLY"
    ads = made.dynamic_resources.ads_config
    assert ads.api_type == ads.DELTA_GRPC
    assert ads.grpc_services[0].envoy_grpc.cluster_name == "xds-grpc"
    assert made.dynamic_resources.cds_config.initial_fetch_timeout.ToSeconds() == 0
    assert made.node.id == NODE["id"]


def test_a_server_of_users_certificates_is_a_cluster_where_there_is_one() -> None:
    def pipes(**fields: object) -> dict[str, str]:
        made = rendered(**fields).static_resources.clusters
        found = ((one.name, one.load_assignment.endpoints[0].lb_endpoints[0]) for one in made)
        return {name: it.endpoint.address.pipe.path for name, it in found}

    assert "sds-external" not in pipes()
    assert pipes(external_sds_socket="run/theirs")["sds-external"] == "run/theirs"


def test_every_address_and_port_can_be_chosen() -> None:
    made = rendered(
        admin_address="127.3.2.1",
        admin_port=1,
        listen_address="127.3.2.2",
        ready_port=2,
        prometheus_port=3,
        agent_address="127.3.2.3",
        agent_port=4,
    )
    admin = made.admin.address.socket_address
    assert (admin.address, admin.port_value) == ("127.3.2.1", 1)
    heard = [one.address.socket_address for one in made.static_resources.listeners]
    assert {(one.address, one.port_value) for one in heard} == {("127.3.2.2", 2), ("127.3.2.2", 3)}
    text = json_format.MessageToJson(made)
    assert "127.3.2.3" in text
    assert "15020" not in text


def test_what_readiness_and_metrics_need_is_kept_beside_what_users_ask_for() -> None:
    made = rendered(
        stats=StatsMatcher(("cluster.outbound",), (".upstream_rq_time",), (r"http\..*",))
    )
    patterns = made.stats_config.stats_matcher.inclusion_list.patterns
    prefixes = {one.prefix for one in patterns}
    assert {"istio", "cluster_manager", "listener_manager", "cluster.outbound"} <= prefixes
    assert ".upstream_rq_time" in {one.suffix for one in patterns}
    assert r"http\..*" in {one.safe_regex.regex for one in patterns}


def test_the_number_of_connections_is_limited_but_not_for_probes() -> None:
    made = rendered(max_connections=123)
    assert "123" in json_format.MessageToJson(made.overload_manager)
    assert all(one.ignore_global_conn_limit for one in made.static_resources.listeners)
