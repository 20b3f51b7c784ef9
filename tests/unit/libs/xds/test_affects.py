import pytest
from msgspec import Struct

from libs.model.mesh import Table
from libs.model.security import MtlsMode
from libs.model.service import Protocol, Resolution
from libs.model.settings import MeshSettings
from libs.model.sidecar import IngressListener, ListenerPort
from libs.model.telemetry import MetricsRule
from libs.model.tokens import TokenRule
from libs.model.traffic import (
    Destination,
    HttpRoute,
    StreamRoute,
    Subset,
    WeightedDestination,
)
from libs.proxy.scoper import Scoper
from libs.xds import affects, generate
from libs.xds.types import CLUSTER, ENDPOINT, NAME_TABLE
from tests.support.mesh import (
    access_policy,
    endpoints,
    extension,
    host_policy,
    mesh,
    peer_policy,
    port,
    proxy,
    routing,
    row_key,
    service,
    sidecar,
    telemetry_policy,
    token_policy,
    workload,
)
from tests.support.patches import patch_set

WEB = service("web")
PODS = service("pods", port(5432, Protocol.TCP), resolution=Resolution.ORIGINAL)
TO_WEB = (WeightedDestination(Destination(WEB.host)),)
ROWS = (
    WEB,
    PODS,
    endpoints(WEB, "10.0.0.1"),
    endpoints(PODS, "10.0.0.2"),
    workload("client", addresses=("10.244.0.9",), labels={"app": "web"}),
)
CHANGES: tuple[Struct, ...] = (
    MeshSettings(allow_any_outbound=False, connect_timeout=1),
    service("web", port(81), selector={"app": "web"}),
    endpoints(WEB, "10.0.0.3"),
    endpoints(WEB, "10.0.0.1", service_account="other"),
    endpoints(PODS, "10.0.0.4"),
    workload("client", addresses=("10.0.0.2",), labels={"app": "other"}),
    routing("r", WEB.host, http=(HttpRoute(destinations=TO_WEB),)),
    routing("r", PODS.host, tcp=(StreamRoute((), TO_WEB),)),
    host_policy("p", WEB.host, subsets=(Subset("v1"),)),
    peer_policy("off", mode=MtlsMode.DISABLE),
    access_policy("a"),
    extension("e", lua="x"),
    patch_set(
        "- {applyTo: CLUSTER, patch: {operation: MERGE, value: {connect_timeout: 1s}}}\n"
        "- {applyTo: LISTENER, patch: {operation: MERGE, value: {transparent: true}}}\n"
        "- {applyTo: VIRTUAL_HOST, patch: {operation: MERGE, value: {require_tls: ALL}}}\n"
        "- {applyTo: EXTENSION_CONFIG, patch: {operation: ADD, value: {name: x}}}\n"
    ),
    sidecar("s", "./nothing.example.com"),
    sidecar("i", ingress=(IngressListener(port=ListenerPort(8080, Protocol.HTTP)),)),
    token_policy("t", rules=(TokenRule(issuer="i"),)),
    telemetry_policy("t", metrics=(MetricsRule(disabled=True),)),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda row: type(row).__name__)
def test_no_type_that_differs_is_left_out(change: Struct) -> None:
    before = mesh(*ROWS)
    after = mesh(change, before=before)
    client = proxy(dns_capture=True)
    old, new = (Scoper().scope(now, client) for now in (before, after))
    differ = {
        type_url
        for type_url, make in generate.GENERATORS.items()
        if make(old).version != make(new).version
    }
    assert differ <= affects.types(frozenset({row_key(change).table}))


def test_a_routing_brings_services_into_the_scope_of_a_sidecar() -> None:
    narrow = sidecar("narrow", f"./{PODS.host}", selector={"app": "x"})
    follows = routing("r", PODS.host, http=(HttpRoute(destinations=TO_WEB),))
    client = proxy(labels={"app": "x"}, dns_capture=True)
    before = mesh(*ROWS, narrow)
    old, new = (Scoper().scope(now, client) for now in (before, mesh(follows, before=before)))
    differ = {
        type_url
        for type_url, make in generate.GENERATORS.items()
        if make(old).version != make(new).version
    }
    assert {CLUSTER, ENDPOINT, NAME_TABLE} <= differ <= affects.types(frozenset({Table.ROUTING}))


def test_nothing_is_affected_by_nothing_and_every_table_is_known() -> None:
    assert affects.types(frozenset()) == frozenset()
    assert affects.types(frozenset({Table.SETTINGS})) == frozenset(generate.GENERATORS)
    assert set(affects._BY_TABLE) == set(Table)
