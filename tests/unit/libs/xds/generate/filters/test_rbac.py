import pytest
from envoy.config.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac
from hypothesis import given
from hypothesis import strategies as st

from libs.model.security import AccessPolicy, AccessRule, Action, Condition, Operation, Source
from libs.model.settings import MeshSettings
from libs.xds.generate.filters import rbac
from tests.support import mesh as rows
from tests.support.rbac import Call, allowed

SETTINGS = MeshSettings()
ALICE = "spiffe://cluster.local/ns/shop/sa/alice"
BOB = "spiffe://cluster.local/ns/shop/sa/bob"
FROM_ALICE = AccessRule(sources=(Source(principals=("cluster.local/ns/shop/sa/alice",)),))
GETS = AccessRule(operations=(Operation(methods=("GET",)),))


def policy(action: Action, *rules: AccessRule, name: str = "p", **fields: object) -> AccessPolicy:
    return rows.access_policy(name, action=action, rules=rules, **fields)


def http(*policies: AccessPolicy) -> list[http_rbac.RBAC]:
    found = []
    for one in rbac.http_filters(policies, SETTINGS):
        config = http_rbac.RBAC()
        assert one.typed_config.Unpack(config)
        found.append(config)
    return found


def tcp(*policies: AccessPolicy) -> list[network_rbac.RBAC]:
    found = []
    for one in rbac.network_filters(policies, SETTINGS):
        config = network_rbac.RBAC()
        assert one.typed_config.Unpack(config)
        found.append(config)
    return found


def request(identity: str = "", method: str = "GET", path: str = "/", **headers: str) -> Call:
    given = {":method": method, ":path": path, ":authority": "a", **headers}
    return Call(identity=identity, headers=given)


def passes(call: Call, *policies: AccessPolicy) -> bool:
    found = http(*policies) if call.headers else tcp(*policies)
    return allowed([config.rules for config in found if config.HasField("rules")], call)


def test_without_policies_there_is_no_filter() -> None:
    assert http() == []
    assert tcp() == []


def test_filters_stand_in_the_order_of_evaluation() -> None:
    every = [policy(action, GETS, name=action) for action in reversed(Action)]
    actions = [config.rules.action for config in http(*every)]
    kinds = RBAC.Action
    assert actions == [kinds.DENY, kinds.LOG, kinds.DENY, kinds.ALLOW]
    assert "istio-ext-authz" in next(iter(http(*every)[0].rules.policies))


def test_names_tell_policy_and_rule() -> None:
    [config] = http(policy(Action.DENY, GETS, FROM_ALICE))
    assert sorted(config.rules.policies) == [
        "ns[shop]-policy[p]-rule[0]",
        "ns[shop]-policy[p]-rule[1]",
    ]


def test_a_policy_that_is_tried_out_enforces_nothing() -> None:
    [deny] = http(policy(Action.DENY, GETS, dry_run=True))
    assert not deny.HasField("rules")
    assert deny.shadow_rules_stat_prefix == "istio_dry_run_deny_"
    [allow] = http(policy(Action.ALLOW, GETS, dry_run=True))
    assert allow.shadow_rules_stat_prefix == "istio_dry_run_allow_"
    assert passes(request(), policy(Action.DENY, GETS, dry_run=True))
    assert passes(request(method="PUT"), policy(Action.ALLOW, GETS, dry_run=True))


def test_enforced_and_tried_out_stand_side_by_side() -> None:
    [config] = http(
        policy(Action.ALLOW, GETS), policy(Action.ALLOW, FROM_ALICE, name="t", dry_run=True)
    )
    assert list(config.rules.policies) == ["ns[shop]-policy[p]-rule[0]"]
    assert list(config.shadow_rules.policies) == ["ns[shop]-policy[t]-rule[0]"]


@pytest.mark.parametrize("action", [Action.ALLOW, Action.DENY])
def test_no_rules_match_nothing_and_an_empty_rule_everything(action: Action) -> None:
    for call in (request(), Call()):
        assert passes(call, policy(action)) is (action is Action.DENY)
        assert passes(call, policy(action, AccessRule())) is (action is Action.ALLOW)


def test_fields_are_anded_and_values_ored() -> None:
    rule = AccessRule(
        sources=(Source(principals=("*/alice", "*/bob"), namespaces=("shop",)),),
        operations=(Operation(methods=("GET",), paths=("/a", "/b")),),
        conditions=(Condition(key="request.headers[x]", values=("1", "2")),),
    )
    allow = policy(Action.ALLOW, rule)
    assert passes(request(ALICE, path="/a", x="1"), allow)
    assert passes(request(BOB, path="/b?q=1", x="2"), allow)
    assert not passes(request(ALICE, path="/c", x="1"), allow)
    assert not passes(request(ALICE, path="/a", x="3"), allow)
    assert not passes(request(ALICE, path="/a", method="PUT", x="1"), allow)
    assert not passes(request(ALICE.replace("shop", "bank"), path="/a", x="1"), allow)


def test_sources_and_operations_are_alternatives() -> None:
    rule = AccessRule(
        sources=(Source(principals=("*/alice",)), Source(principals=("*/bob",))),
        operations=(Operation(methods=("GET",)), Operation(paths=("/x",))),
    )
    allow = policy(Action.ALLOW, rule)
    assert passes(request(BOB, method="PUT", path="/x"), allow)
    assert not passes(request(BOB, method="PUT", path="/y"), allow)


def test_negated_values_exclude() -> None:
    source = Source(namespaces=("shop",), not_principals=("*/alice",))
    allow = policy(Action.ALLOW, AccessRule(sources=(source,)))
    assert passes(request(BOB), allow)
    assert not passes(request(ALICE), allow)


ABOUT_REQUESTS = [
    AccessRule(operations=(Operation(hosts=("a",)),)),
    AccessRule(operations=(Operation(not_methods=("GET",)),)),
    AccessRule(operations=(Operation(paths=("/x",)),)),
    AccessRule(sources=(Source(request_principals=("*",)),)),
    AccessRule(sources=(Source(not_request_principals=("*",)),)),
    AccessRule(conditions=(Condition(key="request.headers[x]", values=("1",)),)),
    AccessRule(conditions=(Condition(key="request.auth.claims[x]", not_values=("1",)),)),
    AccessRule(sources=(Source(principals=("*/alice",)), Source(request_principals=("x/y",)))),
]


@pytest.mark.parametrize("rule", ABOUT_REQUESTS)
def test_on_tcp_a_rule_about_requests_allows_nothing_and_denies_more(rule: AccessRule) -> None:
    alice = Call(identity=ALICE)
    assert not passes(alice, policy(Action.ALLOW, rule))
    assert not passes(alice, policy(Action.DENY, rule))


def test_on_tcp_the_other_rules_of_a_policy_still_count() -> None:
    allow = policy(Action.ALLOW, GETS, FROM_ALICE)
    assert passes(Call(identity=ALICE), allow)
    assert not passes(Call(identity=BOB), allow)


def test_on_tcp_a_wider_deny_keeps_the_tests_that_it_can_make() -> None:
    rule = AccessRule(sources=FROM_ALICE.sources, operations=(Operation(paths=("/x",)),))
    assert not passes(Call(identity=ALICE), policy(Action.DENY, rule))
    assert passes(Call(identity=BOB), policy(Action.DENY, rule))


@pytest.mark.parametrize(
    "rule",
    [
        AccessRule(sources=(Source(ip_blocks=("nonsense",)),)),
        AccessRule(conditions=(Condition(key="destination.port", values=("70000",)),)),
        AccessRule(conditions=(Condition(key="destination.ip", not_values=("x",)),)),
        AccessRule(conditions=(Condition(key="unheard.of", values=("x",)),)),
    ],
)
def test_what_means_nothing_allows_nothing_and_denies_more(rule: AccessRule) -> None:
    assert not passes(request(), policy(Action.ALLOW, rule))
    assert not passes(request(), policy(Action.DENY, rule))


def test_what_an_external_authorizer_would_judge_is_refused() -> None:
    custom = policy(Action.CUSTOM, GETS, provider="sso")
    assert not passes(request(), custom)
    assert passes(request(method="PUT"), custom)
    assert not passes(Call(), custom), "a connection might carry such a request"
    assert passes(request(), policy(Action.CUSTOM, provider="sso")), "no rules cover nothing"
    assert http(policy(Action.CUSTOM, GETS, dry_run=True)) == []


def test_logging_refuses_nothing() -> None:
    assert passes(request(), policy(Action.AUDIT, AccessRule()))


NAMES = st.sampled_from(["alice", "bob", "eve"])
RULES = st.builds(
    AccessRule,
    sources=st.lists(
        st.builds(
            Source,
            principals=st.lists(NAMES.map("*/sa/{}".format), max_size=2).map(tuple),
            not_principals=st.lists(NAMES.map("*/sa/{}".format), max_size=1).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
    operations=st.lists(
        st.builds(
            Operation,
            methods=st.lists(st.sampled_from(["GET", "PUT"]), max_size=1).map(tuple),
            not_paths=st.lists(st.sampled_from(["/a", "/b"]), max_size=1).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)
CALLS = st.builds(
    request,
    NAMES.map("spiffe://cluster.local/ns/shop/sa/{}".format),
    st.sampled_from(["GET", "PUT"]),
    st.sampled_from(["/a", "/b", "/c"]),
)


def said(rule: AccessRule, call: Call) -> bool:
    """Read a rule as its documentation does."""
    name = call.identity.rpartition("/")[2]
    sources = [
        (not one.principals or f"*/sa/{name}" in one.principals)
        and f"*/sa/{name}" not in one.not_principals
        for one in rule.sources
    ]
    operations = [
        (not one.methods or call.headers[":method"] in one.methods)
        and call.headers[":path"] not in one.not_paths
        for one in rule.operations
    ]
    return (not sources or any(sources)) and (not operations or any(operations))


@given(st.lists(RULES, max_size=3), st.none() | st.lists(RULES, max_size=3), CALLS)
def test_the_whole_decision(
    denied: list[AccessRule], permitted: list[AccessRule] | None, call: Call
) -> None:
    policies = [policy(Action.DENY, *denied, name="d")]
    if permitted is not None:
        policies.append(policy(Action.ALLOW, *permitted, name="a"))
    expected = not any(said(rule, call) for rule in denied) and (
        permitted is None or any(said(rule, call) for rule in permitted)
    )
    assert passes(call, *policies) is expected
