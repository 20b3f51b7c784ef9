"""No identity may match that only looks like the one that was written."""

from fnmatch import fnmatchcase

import pytest
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from hypothesis import example, given
from hypothesis import strategies as st

from libs.model.ids import SpiffeId
from libs.xds.generate.filters import principals
from libs.xds.generate.filters.principals import Principal
from tests.support.rbac import Call, covers

LETTERS = "ansb.-"
NAMESPACES = st.one_of(
    st.sampled_from(["ns", "sa", "a", "shop"]), st.text("nsab-", min_size=1, max_size=4)
)
ACCOUNTS = st.one_of(st.sampled_from(["ns", "sa", "a.b"]), st.text(LETTERS, min_size=1, max_size=5))
DOMAINS = st.sampled_from(["cluster.local", "clusterxlocal", "ns", "a.b", "axb", "cluster.local.x"])
IDENTITIES = st.builds(SpiffeId, DOMAINS, NAMESPACES, ACCOUNTS)


def near(identity: SpiffeId) -> st.SearchStrategy[SpiffeId]:
    """Return identities that differ a little: a letter for a dot, one more, parts swapped."""

    def vary(text: str) -> st.SearchStrategy[str]:
        return st.sampled_from(
            [text, text.replace(".", "x"), f"{text}a", f"a{text}", text[:-1] or "b", text.upper()]
        )

    swapped = SpiffeId(identity.trust_domain, identity.service_account, identity.namespace)
    varied = st.builds(
        SpiffeId,
        vary(identity.trust_domain),
        vary(identity.namespace),
        vary(identity.service_account),
    )
    return st.one_of(st.just(swapped), varied, IDENTITIES)


PAIRS = IDENTITIES.flatmap(lambda one: st.tuples(st.just(one), near(one)))


def fits(test: Principal, identity: SpiffeId) -> bool:
    return covers(test, Call(identity=str(identity)))


@given(PAIRS)
def test_principals(pair: tuple[SpiffeId, SpiffeId]) -> None:
    written, other = pair
    test = principals.principal(written.principal)
    assert fits(test, written)
    assert fits(test, other) is (other == written)


@given(PAIRS)
@example((SpiffeId("td", "sa", "x"), SpiffeId("td", "ns", "x")))
@example((SpiffeId("ns", "ns", "x"), SpiffeId("ns", "b", "x")))
def test_namespaces(pair: tuple[SpiffeId, SpiffeId]) -> None:
    written, other = pair
    test = principals.namespace(written.namespace)
    assert fits(test, written)
    assert fits(test, other) is (other.namespace == written.namespace)


PATTERNS = st.one_of(
    NAMESPACES.map(lambda text: f"{text}*"),
    NAMESPACES.map(lambda text: f"*{text}"),
    st.tuples(NAMESPACES, NAMESPACES).map("*".join),
    st.just("*"),
)


@given(PATTERNS, IDENTITIES)
@example("*a", SpiffeId("td", "b", "x"))
@example("x*sa", SpiffeId("td", "xy", "z"))
def test_patterns_of_namespaces(pattern: str, identity: SpiffeId) -> None:
    expected = fnmatchcase(identity.namespace, pattern)
    assert fits(principals.namespace(pattern), identity) is expected


@given(PAIRS)
def test_service_accounts(pair: tuple[SpiffeId, SpiffeId]) -> None:
    written, other = pair
    same = (other.namespace, other.service_account) == (written.namespace, written.service_account)
    full = f"{written.namespace}/{written.service_account}"
    for test in (
        principals.service_account(full, default_namespace="elsewhere"),
        principals.service_account(written.service_account, default_namespace=written.namespace),
    ):
        assert fits(test, written)
        assert fits(test, other) is same


@given(PAIRS)
def test_trust_domains(pair: tuple[SpiffeId, SpiffeId]) -> None:
    written, other = pair
    test = principals.trust_domain(written.trust_domain)
    assert fits(test, written)
    assert fits(test, other) is (other.trust_domain == written.trust_domain)


@given(st.sampled_from(["*", "*.local", "cluster*", "a*b", "*x*"]), IDENTITIES)
def test_patterns_of_trust_domains(pattern: str, identity: SpiffeId) -> None:
    if pattern.count("*") == 2:
        pattern = "*.local"
    expected = fnmatchcase(identity.trust_domain, pattern)
    assert fits(principals.trust_domain(pattern), identity) is expected


@given(PAIRS)
def test_ends_and_beginnings_of_principals(pair: tuple[SpiffeId, SpiffeId]) -> None:
    written, other = pair
    end = f"/{written.namespace}/sa/{written.service_account}"
    test = principals.principal(f"*{end}")
    assert fits(test, other) is other.principal.endswith(end)
    start = f"{written.trust_domain}/ns/{written.namespace}"
    test = principals.principal(f"{start}*")
    assert fits(test, other) is other.principal.startswith(start)


@pytest.mark.parametrize(
    "test",
    [
        principals.principal("*"),
        principals.namespace("*"),
        principals.trust_domain("*"),
        principals.service_account("a/b", default_namespace="x"),
    ],
)
def test_without_mesh_tls_no_identity_matches(test: Principal) -> None:
    assert not covers(test, Call())
    assert covers(principals.negated(test), Call()), "and every negated one does"


def test_the_forms_that_istio_users_know() -> None:
    def text(test: Principal) -> str:
        return test.authenticated.principal_name.safe_regex.regex

    assert text(principals.namespace("a.b")) == r".*/ns/a\.b/.*"
    assert text(principals.principal("*/sa/x.y")) == r"spiffe://.*/sa/x\.y"
    assert (
        text(principals.service_account("n/a.b", default_namespace="x"))
        == r"spiffe://.+/ns/n/(.+/|)sa/a\.b(/.+)?"
    )


def matcher_of(test: Principal) -> MetadataMatcher:
    return test.sourced_metadata.metadata_matcher


@pytest.mark.parametrize(
    ("written", "issuer", "subject"),
    [
        ("https://idp.example/alice", "exact: https://idp.example", "exact: alice"),
        ("*", "regex: .+", "regex: .+"),
        ("issuer/*", "exact: issuer", "regex: .+"),
        ("issuer/al*", "exact: issuer", "prefix: al"),
        ("*/alice", "regex: .+", "exact: alice"),
        ("*.example/alice", "suffix: .example", "exact: alice"),
        ("issuer*", "prefix: issuer", "regex: .+"),
        ("*lice", "regex: .+", "suffix: lice"),
        ("issuer", "exact: issuer", "exact: "),
    ],
)
def test_issuer_and_subject_of_a_token(written: str, issuer: str, subject: str) -> None:
    both = principals.request_principal(written).and_ids.ids
    said = []
    for one in both:
        assert matcher_of(one).filter == "envoy.filters.http.jwt_authn"
        matcher = matcher_of(one).value.string_match
        kind = str(matcher.WhichOneof("match_pattern"))
        said.append(
            f"regex: {matcher.safe_regex.regex}"
            if kind == "safe_regex"
            else f"{kind}: {getattr(matcher, kind)}"
        )
    assert said == [issuer, subject]
    assert [matcher_of(one).path[1].key for one in both] == ["iss", "sub"]


def test_a_nested_claim() -> None:
    found = matcher_of(principals.claim(["realm", "roles"], "admin"))
    assert [segment.key for segment in found.path] == ["payload", "realm", "roles"]
    listed, plain = found.value.or_match.value_matchers
    assert listed.list_match.one_of.string_match.exact == "admin"
    assert plain.string_match.exact == "admin"
