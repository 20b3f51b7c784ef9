import itertools
import random

import pytest
from msgspec import Struct, structs

from libs.model.endpoint import Endpoint, EndpointSet, Locality
from libs.model.mesh import Mesh
from libs.model.security import MtlsMode
from libs.model.service import Protocol, Resolution
from libs.model.settings import MeshSettings
from libs.model.traffic import ConnectionPool, HttpMatch, HttpRoute, Subset, TrafficPolicy
from libs.model.traffic import OutlierDetection as Outliers
from libs.proxy.node import Interception
from libs.proxy.scope import OutboundScope
from libs.proxy.scoper import Scoper
from tests.support.mesh import (
    access_policy,
    endpoints,
    fqdn,
    host_policy,
    mesh,
    peer_policy,
    port,
    proxy,
    routing,
    service,
    sidecar,
)

WEB, DB = service("web"), service("db", port(5432, Protocol.TCP))
ROWS: tuple[Struct, ...] = (
    WEB,
    DB,
    endpoints(WEB, "10.0.0.1"),
    endpoints(DB, "10.0.0.2"),
    routing("r", WEB.host, http=(HttpRoute(matches=(HttpMatch(source_labels={"app": "a"}),)),)),
    host_policy("p", WEB.host, subsets=(Subset("v1", {"v": "1"}),)),
)


def outbound(*rows: Struct, **client: object) -> OutboundScope:
    return Scoper().scope(mesh(*rows), proxy(**client)).outbound  # type: ignore[arg-type]


def test_proxies_of_a_namespace_share_one_outbound_scope() -> None:
    scoper, now = Scoper(), mesh(*ROWS)
    shared = {
        id(scoper.scope(now, proxy(f"p{n}", addresses=(f"10.1.0.{n}",))).outbound)
        for n in range(100)
    }
    assert len(shared) == 1


def test_labels_by_which_nothing_chooses_do_not_matter_and_those_that_do_do() -> None:
    scoper, now = Scoper(), mesh(*ROWS)
    one = scoper.scope(now, proxy("one", labels={"app": "a", "pod": "1"}))
    two = scoper.scope(now, proxy("two", labels={"app": "a", "pod": "2"}))
    other = scoper.scope(now, proxy("other", labels={"app": "b"}))
    assert one.outbound is two.outbound
    assert one.outbound_digest != other.outbound_digest


def test_an_access_policy_touches_no_outbound_scope() -> None:
    scoper, now = Scoper(), mesh(*ROWS)
    before = scoper.scope(now, proxy())
    after = scoper.scope(mesh(access_policy("a", namespace="elsewhere"), before=now), proxy())
    assert after.outbound is before.outbound
    assert after.endpoints is before.endpoints


def test_moving_endpoints_touch_no_outbound_scope() -> None:
    scoper, now = Scoper(), mesh(*ROWS)
    before = scoper.scope(now, proxy())
    after = scoper.scope(mesh(endpoints(WEB, "10.0.9.9"), before=now), proxy())
    assert after.outbound is before.outbound


def test_a_change_that_a_client_does_not_see_leaves_it_its_scope() -> None:
    scoper, now = Scoper(), mesh(*ROWS)
    before = scoper.scope(now, proxy())
    hidden = service("hidden", namespace="elsewhere", export_to=(".",))
    after = scoper.scope(mesh(hidden, before=now), proxy())
    assert after.outbound is before.outbound


def test_unchanged_services_stay_the_same_objects() -> None:
    scoper, now = Scoper(), mesh(*ROWS)
    before = {s.service.host: s for s in scoper.scope(now, proxy()).outbound.services}
    changed = mesh(service("web", port(81)), before=now)
    after = {s.service.host: s for s in scoper.scope(changed, proxy()).outbound.services}
    assert after[DB.host] is before[DB.host]
    assert after[WEB.host] is not before[WEB.host]


def test_namespaces_share_what_they_see_alike() -> None:
    scoper, now = Scoper(), mesh(*ROWS)
    one = scoper.scope(now, proxy(namespace="a")).outbound.services
    two = scoper.scope(now, proxy(namespace="b")).outbound.services
    assert all(left is right for left, right in zip(one, two, strict=True))


CHANGES: tuple[Struct, ...] = (
    service("web", port(81)),
    service("new"),
    routing("r", WEB.host, http=(HttpRoute(),)),
    host_policy("p", WEB.host, policy=TrafficPolicy(ports={80: TrafficPolicy()})),
    host_policy("q", DB.host, policy=TrafficPolicy(connection_pool=ConnectionPool())),
    peer_policy("off", mode=MtlsMode.DISABLE),
    endpoints(WEB, "10.0.0.1", service_account="other"),
    MeshSettings(allow_any_outbound=False),
    sidecar("s", f"./{WEB.host}"),
    sidecar("t", allow_any=False),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda row: type(row).__name__)
def test_whatever_a_client_sees_is_in_its_digest(change: Struct) -> None:
    now = mesh(*ROWS)
    before = Scoper().scope(now, proxy())
    after = Scoper().scope(mesh(change, before=now), proxy())
    assert before.outbound_digest != after.outbound_digest


def test_a_scoper_that_saw_many_meshes_says_what_a_fresh_one_says() -> None:
    scoper, now = Scoper(), mesh(*ROWS)
    chance = random.Random(7)  # noqa: S311 - the same walk every time
    clients = [proxy("a"), proxy("b", namespace="elsewhere"), proxy("c", labels={"app": "a"})]
    rows = [*ROWS, *CHANGES]
    for _ in range(60):
        now = mesh(chance.choice(rows), before=now)
        client = chance.choice(clients)
        kept, fresh = scoper.scope(now, client), Scoper().scope(now, client)
        assert (kept.outbound_digest, kept.inbound_digest) == (
            fresh.outbound_digest,
            fresh.inbound_digest,
        )
        assert kept.endpoints == fresh.endpoints


def test_the_order_of_rows_does_not_matter() -> None:
    digests = {
        Scoper().scope(mesh(*rows), proxy()).outbound_digest
        for rows in itertools.permutations(ROWS, len(ROWS))
    }
    assert len(digests) == 1


PODS = service("pods", port(5432, Protocol.TCP), resolution=Resolution.ORIGINAL)


def test_a_proxys_own_addresses_enter_only_where_it_could_dial_itself() -> None:
    rows = (PODS, endpoints(PODS, "10.0.0.1", "10.0.0.2"))
    assert outbound(*rows, addresses=("10.0.0.1",)).own_addresses == ("10.0.0.1",)
    assert outbound(*rows, addresses=("10.0.0.9",)).own_addresses == ()
    http_only = structs.replace(PODS, ports=(port(80),))
    assert outbound(http_only, endpoints(http_only, "10.0.0.1")).own_addresses == ()


def test_an_explicit_proxy_has_its_own_address_in_its_scope() -> None:
    explicit = outbound(WEB, interception=Interception.NONE, outbound_address="127.0.0.9")
    assert explicit.outbound_address == "127.0.0.9"
    assert outbound(WEB, outbound_address="127.0.0.9").outbound_address == ""


def test_servers_may_prove_the_accounts_of_their_endpoints_in_every_trust_domain() -> None:
    settings = MeshSettings(trust_domain="td", trust_domain_aliases=("old",))
    (web,) = outbound(settings, WEB, endpoints(WEB, "10.0.0.1")).services
    assert web.accounts == ("spiffe://old/ns/shop/sa/web", "spiffe://td/ns/shop/sa/web")


def test_aliases_go_with_the_service_they_stand_for() -> None:
    alias = service("alias", resolution=Resolution.ALIAS, alias_of=WEB.host)
    outside = service("outside", resolution=Resolution.ALIAS, alias_of="www.example.com")
    (web,) = outbound(WEB, alias, outside).services
    assert web.aliases == (fqdn("alias"),)


def test_a_peer_policy_that_forbids_mesh_tls_is_named_as_its_source() -> None:
    (web,) = outbound(WEB, peer_policy("off", mode=MtlsMode.DISABLE)).services
    assert not web.auto_mtls
    assert web.peer_refs == ("PeerAuthentication/shop/off",)


def test_an_empty_mesh_is_a_mesh() -> None:
    assert Scoper().scope(Mesh(), proxy()).outbound.services == ()


def test_identities_that_a_service_declares_hold_in_all_trust_domains_of_the_mesh() -> None:
    named = ("host.example", "spiffe://td/ns/a/sa/b", "spiffe://partner/ns/a/sa/b")
    made = service("web", subject_alt_names=named)
    settings = MeshSettings(trust_domain="td", trust_domain_aliases=("old",))
    [scoped] = Scoper().scope(mesh(made, settings), proxy()).outbound.services
    assert scoped.accounts == (
        "host.example",
        "spiffe://old/ns/a/sa/b",
        "spiffe://partner/ns/a/sa/b",  # somebody else's: nobody here may stand in for it
        "spiffe://td/ns/a/sa/b",
    )


def test_clients_of_two_places_share_a_scope_unless_names_are_chosen_by_place() -> None:
    here = proxy("here", locality=Locality("eu", "eu-1"))
    there = proxy("there", locality=Locality("us", "us-1"))
    named = service("far", resolution=Resolution.DNS)
    places = EndpointSet(
        key=named.key,
        endpoints=(
            Endpoint(address="eu.example", port=80, port_name="http-80", locality=here.locality),
            Endpoint(address="us.example", port=80, port_name="http-80", locality=there.locality),
        ),
    )
    watched = host_policy("p", named.host, policy=TrafficPolicy(outlier_detection=Outliers()))

    def seen(*rows: Struct) -> list[OutboundScope]:
        scoper, found = Scoper(), mesh(*rows)
        return [scoper.scope(found, one).outbound for one in (here, there)]

    first, second = seen(named, places)
    assert first is second
    first, second = seen(named, places, watched)
    assert (first.place.locality, second.place.locality) == (here.locality, there.locality)
    first, second = seen(WEB, endpoints(WEB), watched)
    assert first is second
