"""Who may do what, decided by a real Envoy: requests, connections and identities that come near."""

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import structs

from libs.model.security import (
    AccessPolicy,
    AccessRule,
    Action,
    Condition,
    MtlsMode,
    Operation,
    Source,
)
from libs.model.service import Protocol
from tests.support import mesh as rows
from tests.support import traffic
from tests.support.certificates import TestAuthority, client_context
from tests.support.workload import LABELS, Server, Workload, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

Client = Callable[[str], ssl.SSLContext]
"""Makes a TLS client for an identity, written `<namespace>/<account>`."""

HTTP = ("istio-http/1.1", "istio", "http/1.1")
TCP = ("istio-peer-exchange", "istio")
BYTES = b"\x00hello"
WORKLOAD = Workload(
    ports={"http": Protocol.HTTP, "tcp": Protocol.TCP, "other": Protocol.TCP},
    mode=MtlsMode.PERMISSIVE,
)
ALICE = "cluster.local/ns/shop/sa/alice"
EVERYTHING = AccessRule()
SCOPES: dict[str, dict[str, object]] = {
    "mesh": {"namespace": "istio-system"},
    "namespace": {"namespace": "shop"},
    "workload": {"namespace": "shop", "selector": LABELS},
}
ELSEWHERE: dict[str, dict[str, object]] = {
    "another namespace": {"namespace": "bank"},
    "another workload": {"namespace": "shop", "selector": {"app": "other"}},
}


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    async with serving(authority, WORKLOAD, tmp_path_factory.mktemp("envoy")) as running:
        yield running


@pytest.fixture(scope="module")
def client(authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory) -> Client:
    folder = tmp_path_factory.mktemp("clients")

    def make(identity: str) -> ssl.SSLContext:
        namespace, _, account = identity.partition("/")
        return client_context(authority.issue(account, namespace), folder, HTTP)

    return make


async def _under(server: Server, *policies: AccessPolicy, mode: MtlsMode | None = None) -> None:
    wanted = structs.replace(WORKLOAD, policies=policies, mode=mode or WORKLOAD.mode)
    await server.apply(wanted)
    assert await server.envoy.complaints() == []


def _allow(*rules: AccessRule, **fields: object) -> AccessPolicy:
    return rows.access_policy("allow", action=Action.ALLOW, rules=rules, **fields)


def _deny(*rules: AccessRule, **fields: object) -> AccessPolicy:
    return rows.access_policy("deny", action=Action.DENY, rules=rules, **fields)


def _from(**source: object) -> AccessRule:
    return AccessRule(sources=(Source(**source),))  # type: ignore[arg-type]


def _to(**operation: object) -> AccessRule:
    return AccessRule(operations=(Operation(**operation),))  # type: ignore[arg-type]


def _when(key: str, *values: str, not_values: tuple[str, ...] = ()) -> AccessRule:
    return AccessRule(conditions=(Condition(key=key, values=values, not_values=not_values),))


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize(
    ("deny", "allow", "status"),
    [
        pytest.param("/secret", "/secret", 403, id="deny matches, though allow does too"),
        pytest.param("/other", None, 200, id="no allow policy"),
        pytest.param("/other", "/secret", 200, id="allow matches"),
        pytest.param("/other", "/elsewhere", 403, id="allow policies, but none matches"),
    ],
)
async def test_truth_table(
    server: Server, scope: str, deny: str, allow: str | None, status: int
) -> None:
    place = SCOPES[scope]
    policies = [_deny(_to(paths=(deny,)), **place)]
    if allow:
        policies.append(_allow(_to(paths=(allow,)), **place))
    await _under(server, *policies)
    assert (await traffic.http(server.port("http"), "/secret")).status == status


@pytest.mark.parametrize("place", ELSEWHERE)
async def test_policies_for_others_do_nothing(server: Server, place: str) -> None:
    await _under(server, _deny(EVERYTHING, **ELSEWHERE[place]))
    assert (await traffic.http(server.port("http"))).status == 200
    await _under(server, _deny(EVERYTHING, **SCOPES["namespace"]))
    assert (await traffic.http(server.port("http"))).status == 403


async def test_no_rules_allow_nothing_and_an_empty_rule_everything(server: Server) -> None:
    await _under(server, _allow())
    assert (await traffic.http(server.port("http"))).status == 403
    await _under(server, _allow(EVERYTHING))
    assert (await traffic.http(server.port("http"))).status == 200
    await _under(server, _deny())
    assert (await traffic.http(server.port("http"))).status == 200


async def test_the_access_log_tells_which_rule_refused(server: Server) -> None:
    await _under(server, _deny(_to(paths=("/a",)), _to(paths=("/b*",)), **SCOPES["workload"]))
    answer = await traffic.http(server.port("http"), "/b-logged")
    assert (answer.status, answer.body) == (403, "RBAC: access denied")
    line = await server.envoy.logged("/b-logged")
    assert " rbac_access_denied_matched_policy[ns[shop]-policy[deny]-rule[1]] " in line


async def test_a_trial_refuses_nothing_but_is_counted(server: Server) -> None:
    await _under(server, _deny(EVERYTHING, dry_run=True))
    assert (await traffic.http(server.port("http"))).status == 200
    stats = await server.envoy.stats("http.*istio_dry_run_deny_.shadow_denied")
    assert sum(stats.values()) == 1


async def test_an_external_authorizer_that_does_not_exist_refuses(server: Server) -> None:
    custom = rows.access_policy(
        "ask", action=Action.CUSTOM, provider="sso", rules=(_to(paths=("/admin*",)),)
    )
    await _under(server, custom)
    assert (await traffic.http(server.port("http"), "/admin/x")).status == 403
    assert (await traffic.http(server.port("http"), "/open")).status == 200


REQUESTS = [
    # rule, what fits, what comes near
    (_to(methods=("POST",)), {"method": "POST"}, {"method": "GET"}),
    (_to(not_methods=("GET",)), {"method": "POST"}, {"method": "GET"}),
    (_to(paths=("/a",)), {"path": "/a?b=c"}, {"path": "/a/"}),
    (_to(paths=("/a*",)), {"path": "/abc"}, {"path": "/b/a"}),
    (_to(paths=("*/end",)), {"path": "/x/end"}, {"path": "/x/end/"}),
    (_to(paths=("/u/{*}/x",)), {"path": "/u/7/x"}, {"path": "/u/7/8/x"}),
    (_to(paths=("/u/{**}",)), {"path": "/u/7/8/x"}, {"path": "/v/7"}),
    (_to(not_paths=("/open",)), {"path": "/closed"}, {"path": "/open"}),
    (_to(paths=("/a.b",)), {"path": "/a.b"}, {"path": "/axb"}),
    (_to(hosts=("Shop.example",)), {"host": "sHOP.example"}, {"host": "shop.example.evil"}),
    (_to(hosts=("*.example",)), {"host": "a.EXAMPLE"}, {"host": "example"}),
    (_to(not_hosts=("a.example",)), {"host": "b.example"}, {"host": "A.example"}),
    (_when("request.headers[x-key]", "one", "two"), {"x-key": "two"}, {"x-key": "three"}),
    (_when("request.headers[x-key]", "*"), {"x-key": "any"}, {}),
    (_when("request.headers[x-key]", not_values=("one",)), {"x-key": "two"}, {"x-key": "one"}),
]


@pytest.mark.parametrize(("rule", "fits", "near"), REQUESTS)
async def test_requests(
    server: Server, rule: AccessRule, fits: dict[str, str], near: dict[str, str]
) -> None:
    await _under(server, _allow(rule))
    assert await _status(server, fits) == 200
    assert await _status(server, near) == 403
    await _under(server, _deny(rule))
    assert await _status(server, fits) == 403
    assert await _status(server, near) == 200


async def _status(server: Server, parts: dict[str, str]) -> int:
    headers = {name: value for name, value in parts.items() if name not in {"path", "method"}}
    answer = await traffic.http(
        server.port("http"),
        parts.get("path", "/"),
        method=parts.get("method", "GET"),
        headers=headers,
    )
    return answer.status


IDENTITIES = [
    # rule, who fits, who comes near
    (_from(principals=(ALICE,)), "shop/alice", ("shop/alice2", "shop/alic", "shop2/alice")),
    (_from(principals=("cluster.local/ns/shop/sa/a.b",)), "shop/a.b", ("shop/axb", "shop/a-b")),
    (_from(principals=("*/sa/a.b",)), "shop/a.b", ("shop/axb", "shop/a.bb", "shop/ba.b")),
    (_from(principals=("*.b",)), "shop/a.b", ("shop/axb", "shop/a.b.")),
    (_from(principals=("cluster.local/ns/sh*",)), "shop/x", ("bank/x", "xshop/x")),
    (_from(principals=("*",)), "bank/x", ()),
    (_from(namespaces=("shop",)), "shop/x", ("shop2/x", "xshop/x", "sho/x", "bank/shop")),
    (_from(namespaces=("a.b",)), "a.b/x", ("axb/x",)),
    (_from(namespaces=("sa",)), "sa/x", ("ns/x", "bank/sa")),
    (_from(namespaces=("sh*",)), "shop/x", ("bank/sh", "bash/x")),
    (_from(namespaces=("*a",)), "shopa/x", ("shop/x", "shop/a")),
    (_from(service_accounts=("shop/a.b",)), "shop/a.b", ("shop/axb", "shop/a.bb", "bank/a.b")),
    (_from(service_accounts=("a.b",)), "shop/a.b", ("shop/axb", "bank/a.b")),
    (_from(trust_domains=("cluster.local",)), "shop/x", ()),
    (_when("source.principal", ALICE), "shop/alice", ("shop/alicex",)),
    (_when("source.namespace", "shop"), "shop/x", ("shopx/x",)),
    (_when("source.serviceAccount", "shop/a.b"), "shop/a.b", ("shop/axb",)),
    (_when("source.trustDomain", "*.local"), "shop/x", ()),
]


@pytest.mark.parametrize(("rule", "fits", "near"), IDENTITIES)
async def test_identities_that_come_near_do_not_match(
    server: Server, client: Client, rule: AccessRule, fits: str, near: tuple[str, ...]
) -> None:
    at = server.port("http")
    await _under(server, _allow(rule))
    assert (await traffic.http(at, tls=client(fits))).status == 200
    assert (await traffic.http(at)).status == 403, "a caller without identity"
    for other in near:
        assert (await traffic.http(at, tls=client(other))).status == 403, other
    await _under(server, _deny(rule))
    assert (await traffic.http(at, tls=client(fits))).status == 403
    for other in near:
        assert (await traffic.http(at, tls=client(other))).status == 200, other


@pytest.mark.parametrize(
    "source",
    [
        {"not_principals": (ALICE,)},
        {"not_namespaces": ("shop",)},
        {"not_service_accounts": ("shop/alice",)},
    ],
)
async def test_a_negated_identity_covers_everybody_else(
    server: Server, client: Client, source: dict[str, object]
) -> None:
    await _under(server, _deny(_from(**source)))
    at = server.port("http")
    assert (await traffic.http(at, tls=client("shop/alice"))).status == 200
    assert (await traffic.http(at, tls=client("bank/bob"))).status == 403
    assert (await traffic.http(at)).status == 403, "nobody is somebody else, too"


async def test_fields_of_a_source_all_have_to_match(server: Server, client: Client) -> None:
    await _under(server, _allow(_from(principals=(ALICE,), ip_blocks=("10.0.0.0/8",))))
    assert (await traffic.http(server.port("http"), tls=client("shop/alice"))).status == 403
    await _under(server, _allow(_from(principals=(ALICE,), ip_blocks=("127.0.0.0/8",))))
    assert (await traffic.http(server.port("http"), tls=client("shop/alice"))).status == 200


@pytest.mark.parametrize("field", ["ip_blocks", "remote_ip_blocks"])
async def test_addresses(server: Server, field: str) -> None:
    for block, status in (("127.0.0.1", 200), ("127.0.0.0/8", 200), ("127.0.0.2", 403)):
        await _under(server, _allow(_from(**{field: (block,)})))
        assert (await traffic.http(server.port("http"))).status == status, block


async def test_aliases_and_the_pointer_to_the_own_trust_domain(
    server: Server, authority: TestAuthority, tmp_path: Path
) -> None:
    moved = structs.replace(
        WORKLOAD.settings, trust_domain="new.example", trust_domain_aliases=("old.example",)
    )
    at = server.port("http")
    for written in ("old.example", "new.example", "cluster.local"):
        rule = _from(principals=(f"{written}/ns/shop/sa/alice",))
        await server.apply(structs.replace(WORKLOAD, policies=[_allow(rule)], settings=moved))
        for domain in ("old.example", "new.example"):
            certificate = authority.issue("alice", trust_domain=domain)
            tls = client_context(certificate, tmp_path, HTTP)
            assert (await traffic.http(at, tls=tls)).status == 200, (written, domain)
    foreign = _from(principals=("other.example/ns/shop/sa/alice",))
    await server.apply(structs.replace(WORKLOAD, policies=[_allow(foreign)], settings=moved))
    tls = client_context(authority.issue("alice", trust_domain="old.example"), tmp_path, HTTP)
    assert (await traffic.http(at, tls=tls)).status == 403


async def _passes(server: Server, port: str, tls: ssl.SSLContext | None = None) -> bool:
    return (await traffic.exchange(server.port(port), BYTES, tls=tls)).body == "\x00HELLO"


async def test_connections(server: Server, client: Client) -> None:
    alice, bob = client("shop/alice"), client("shop/bob")
    for tls in (alice, bob):
        tls.set_alpn_protocols(list(TCP))
    await _under(server, _allow(_from(principals=(ALICE,))))
    assert await _passes(server, "tcp", alice)
    assert not await _passes(server, "tcp", bob)
    assert not await _passes(server, "tcp")
    await _under(server, _deny(_from(principals=(ALICE,))))
    assert not await _passes(server, "tcp", alice)
    assert await _passes(server, "tcp", bob)


async def test_ports_tell_connections_apart(server: Server) -> None:
    _, number = server.port("tcp")
    await _under(server, _deny(_to(ports=(number,))))
    assert not await _passes(server, "tcp")
    assert await _passes(server, "other")
    await _under(server, _allow(_when("destination.port", str(number))))
    assert await _passes(server, "tcp")
    assert not await _passes(server, "other")


async def test_a_rule_about_requests_allows_no_connection_and_denies_all(server: Server) -> None:
    about_requests = AccessRule(operations=(Operation(methods=("GET",)), Operation(ports=(1,))))
    await _under(server, _allow(about_requests))
    assert not await _passes(server, "tcp")
    await _under(server, _deny(_to(methods=("GET",))))
    assert not await _passes(server, "tcp")
    await _under(server, _deny(_to(methods=("GET",), ports=(1,))))
    assert await _passes(server, "tcp"), "the test that is left still counts"


@pytest.mark.parametrize(
    "condition",
    [
        "request.auth.principal",
        "request.auth.audiences",
        "request.auth.presenter",
        "request.auth.claims[groups]",
        "request.auth.claims[realm][roles]",
    ],
)
async def test_claims_match_nothing_while_no_token_is_verified(
    server: Server, condition: str
) -> None:
    await _under(server, _allow(_when(condition, "*")))
    forged = {"authorization": "Bearer e30.e30.e30"}
    assert (await traffic.http(server.port("http"), headers=forged)).status == 403
    await _under(server, _deny(_when(condition, "*")))
    assert (await traffic.http(server.port("http"))).status == 200
