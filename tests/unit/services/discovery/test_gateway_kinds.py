"""What discovery says of the Gateway API's definitions as they come and go."""

import json

import pytest
from msgspec import Raw

from libs.kube.follow import Change
from libs.kube.list import Name
from services.discovery.gateway_kinds import GatewayKinds

ROUTES = "httproutes.gateway.networking.k8s.io"
TLS = "tlsroutes.gateway.networking.k8s.io"


def _change(name: str, bundle: str | None = None, *, gone: bool = False) -> Change:
    annotations = {"gateway.networking.k8s.io/bundle-version": bundle} if bundle else None
    raw = {"metadata": {"name": name, "annotations": annotations}}
    return Change(Name("", name), None if gone else Raw(json.dumps(raw).encode()))


def test_other_definitions_do_not_matter() -> None:
    kinds = GatewayKinds()
    assert not kinds.take([_change("gateways.networking.istio.io"), _change("things.example.com")])
    assert kinds.problems == ()


def test_they_are_told_once_and_for_as_long_as_they_are_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    kinds = GatewayKinds()
    assert kinds.take([_change(ROUTES, "v1.5.1"), _change(TLS, "v1.4.0")])
    unfollowed, old = kinds.problems
    assert "HTTPRoute, TLSRoute" in unfollowed.text
    assert "no effect" in unfollowed.text
    assert (old.ref, old.reason) == (f"CustomResourceDefinition//{TLS}", "OutdatedDefinition")
    assert not kinds.take([_change(ROUTES, "v1.5.1")])
    assert [it.message for it in caplog.records] == ["kinds of the gateway api are not followed"]
    assert kinds.take([_change(TLS, "v1.5.0")])
    assert [it.reason for it in kinds.problems] == ["UnsupportedKind"]
    assert kinds.take([_change(ROUTES, gone=True), _change(TLS, gone=True)])
    assert kinds.problems == ()
