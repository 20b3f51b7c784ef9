"""Principals: conditions on the caller, as Envoy's RBAC tests them.

Identities are compared with the SPIFFE id in the certificate that the caller proved. Without mesh
TLS there is none, so that no identity matches, and every negated one does.
"""

from collections.abc import Callable, Sequence

from envoy.config.rbac.v3.rbac_pb2 import Principal, SourcedMetadata
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from libs.xds.generate.filters import matchers

JWT_FILTER = "envoy.filters.http.jwt_authn"
_JWT_PAYLOAD = "payload"
_ANY_TEXT = matchers.regex(".+")
_SEGMENT_NAMES = frozenset({"ns", "sa"})

Test = Callable[[str], Principal | None]
"""Makes the test of one written value; None if the value means nothing."""


def anyone() -> Principal:
    """Return a test that every caller passes."""
    return Principal(any=True)


def all_of(tests: Sequence[Principal]) -> Principal:
    """Return a test passed by callers that pass all `tests`."""
    return Principal(and_ids=Principal.Set(ids=tests))


def one_of(tests: Sequence[Principal]) -> Principal:
    """Return a test passed by callers that pass one of `tests`."""
    return Principal(or_ids=Principal.Set(ids=tests))


def negated(test: Principal) -> Principal:
    """Return a test passed by all other callers."""
    return Principal(not_id=test)


def principal(written: str) -> Principal:
    """Test the caller's whole identity, written without its scheme."""
    if written.startswith("*") and written != "*":
        return _proved(matchers.regex("spiffe://.*" + matchers.escape(written[1:])))
    return _proved(matchers.text(written if written == "*" else f"spiffe://{written}"))


def namespace(written: str) -> Principal:
    """Test the namespace in the caller's identity; `*` stands for any part of its name."""
    name = "[^/]*".join(matchers.escape(part) for part in written.split("*"))
    # The short form would also find a namespace's neighbours in the path where they read the same.
    ambiguous = "*" in written or written in _SEGMENT_NAMES
    before = "spiffe://[^/]*" if ambiguous else ".*"
    return _proved(matchers.regex(f"{before}/ns/{name}/.*"))


def service_account(written: str, *, default_namespace: str) -> Principal:
    """Test namespace and service account, written `<namespace>/<account>` or `<account>`."""
    before, slash, after = written.partition("/")
    space, account = (before, after) if slash else (default_namespace, before)
    space, account = matchers.escape(space), matchers.escape(account)
    return _proved(matchers.regex(f"spiffe://.+/ns/{space}/(.+/|)sa/{account}(/.+)?"))


def trust_domain(written: str) -> Principal:
    """Test the trust domain in the caller's identity."""
    if written == "*":
        return _proved(StringMatcher(prefix="spiffe://"))
    if "*" not in written:
        return _proved(StringMatcher(prefix=f"spiffe://{written}/"))
    name = "[^/]*".join(matchers.escape(part) for part in written.split("*"))
    return _proved(matchers.regex(f"spiffe://{name}/.*"))


def direct_address(written: str) -> Principal | None:
    """Test the address at the other end of the connection."""
    block = matchers.cidr(written)
    return Principal(direct_remote_ip=block) if block else None


def remote_address(written: str) -> Principal | None:
    """Test the address of the original client, as far as trusted proxies tell it."""
    block = matchers.cidr(written)
    return Principal(remote_ip=block) if block else None


def request_header(name: str, written: str) -> Principal:
    """Test a header of the request."""
    return Principal(header=matchers.header(name, written))


def request_principal(written: str) -> Principal:
    """Test issuer and subject of the request's token, written `<issuer>/<subject>`."""
    issuer, subject = _issuer_and_subject(written)
    return all_of([_claim_is("iss", issuer), _claim_is("sub", subject)])


def claim(path: list[str], written: str) -> Principal:
    """Test a claim of the request's token: a text, or a list that holds one."""
    wanted = matchers.value(matchers.text(written))
    either = matchers.any_value([matchers.listed(wanted), wanted])
    found = matchers.metadata(JWT_FILTER, [_JWT_PAYLOAD, *path], either)
    return Principal(sourced_metadata=SourcedMetadata(metadata_matcher=found))


def _proved(name: StringMatcher) -> Principal:
    return Principal(authenticated=Principal.Authenticated(principal_name=name))


def _claim_is(name: str, wanted: StringMatcher) -> Principal:
    value = matchers.value(wanted)
    found = matchers.metadata(JWT_FILTER, [_JWT_PAYLOAD, name], value)
    return Principal(sourced_metadata=SourcedMetadata(metadata_matcher=found))


def _issuer_and_subject(written: str) -> tuple[StringMatcher, StringMatcher]:
    """Split at the last slash, as issuers are often URLs; a wildcard may stand at either end."""
    issuer, slash, subject = written.rpartition("/")
    if written == "*":
        return _ANY_TEXT, _ANY_TEXT
    if slash:
        # A star inside, at the end of the issuer or the start of the subject, is no wildcard.
        before = matchers.text(issuer) if issuer.startswith("*") else _exact(issuer)
        leading = written.startswith("*")
        after = _exact(subject) if leading or not subject.endswith("*") else matchers.text(subject)
        return before, after
    if written.startswith("*"):
        return _ANY_TEXT, matchers.text(written)
    if written.endswith("*"):
        return matchers.text(written), _ANY_TEXT
    return _exact(written), _exact("")


def _exact(written: str) -> StringMatcher:
    return StringMatcher(exact=written)
