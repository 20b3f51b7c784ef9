"""What gRPC programs can test of access rules."""

import pytest
from envoy.config.rbac.v3.rbac_pb2 import Permission, Principal

from libs.xds.generate.filters import permissions, principals
from libs.xds.generate.filters.grpc_rules import testable

testable.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "test",
    [
        permissions.anything(),
        permissions.host("a.*"),
        permissions.path("/a*"),
        permissions.port("80") or Permission(),
        permissions.address("10.0.0.0/8") or Permission(),
        permissions.server_name("a"),
        principals.principal("a/ns/b/sa/c"),
        principals.request_header("x-a", "b"),
        principals.remote_address("10.0.0.1") or Principal(),
        principals.direct_address("10.0.0.1") or Principal(),
    ],
)
def test_what_they_can(test: Permission | Principal) -> None:
    assert testable(test)


@pytest.mark.parametrize(
    "test",
    [
        permissions.path("/a/{*}"),
        permissions.filter_metadata("a.b", "c", "d"),
        principals.request_principal("a/b"),
        principals.claim(["groups"], "x"),
        principals.request_header("grpc-timeout", "1"),
        principals.request_header(":scheme", "http"),
        Permission(),
        Principal(),
    ],
)
def test_what_they_cannot_however_deep_it_stands(test: Permission | Principal) -> None:
    assert not testable(test)
    if isinstance(test, Permission):
        known = permissions.anything()
        assert not testable(permissions.negated(test))
        assert not testable(permissions.all_of([known, permissions.one_of([known, test])]))
    else:
        anyone = principals.anyone()
        assert not testable(principals.negated(test))
        assert not testable(principals.all_of([anyone, principals.one_of([anyone, test])]))
