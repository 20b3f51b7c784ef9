import pytest

from libs.api import kubernetes
from libs.api.networking.virtual_service import VirtualService
from libs.api.registry import BY_NAME, BY_TYPE, KINDS, Kind, Unread, find, suggestion


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("v1", "Service"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
        ("networking.istio.io/v1", "VirtualService"),
        ("networking.istio.io/v1beta1", "VirtualService"),
        ("networking.istio.io/v1alpha3", "DestinationRule"),
        ("security.istio.io/v1beta1", "PeerAuthentication"),
    ],
)
def test_every_served_version_of_a_kind_is_found(api_version: str, kind: str) -> None:
    found = find(api_version, kind)
    assert isinstance(found, Kind)
    assert found.struct is not None
    assert found.struct.__name__ == kind


@pytest.mark.parametrize(
    ("api_version", "kind", "answer"),
    [
        ("networking.istio.io/v2", "VirtualService", Unread.UNKNOWN_VERSION),
        ("discovery.k8s.io/v1beta1", "EndpointSlice", Unread.UNKNOWN_VERSION),
        ("v1beta1", "Service", Unread.UNKNOWN_VERSION),
        ("networking.istio.io/v1", "VirtualServce", Unread.UNKNOWN_KIND),
        ("v1", "Servce", Unread.UNKNOWN_KIND),
        ("v1", "VirtualService", Unread.UNKNOWN_KIND),
        ("config.istio.io/v1alpha2", "QuotaSpec", Unread.UNKNOWN_KIND),
        ("networking.istio.oi/v1", "VirtualService", Unread.UNKNOWN_KIND),
        ("network.istio.io/v1", "VirtualService", Unread.UNKNOWN_KIND),
        ("v1", "Endpoints", Unread.IGNORED),
        ("apps/v1", "Deployment", Unread.IGNORED),
        ("rbac.authorization.k8s.io/v1", "Role", Unread.IGNORED),
        ("networking.k8s.io/v1", "NetworkPolicy", Unread.IGNORED),
        ("networking.k8s.io/v1beta1", "Ingress", Unread.UNKNOWN_VERSION),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", Unread.IGNORED),
        ("cert-manager.io/v1", "Certificate", Unread.IGNORED),
        ("serving.knative.dev/v1", "Service", Unread.IGNORED),
        ("x" * 100_000 + "/v1", "Service", Unread.IGNORED),
    ],
)
def test_what_is_not_read_says_why(api_version: str, kind: str, answer: Unread) -> None:
    assert find(api_version, kind) is answer


@pytest.mark.parametrize("kind", ["Gateway", "HTTPRoute", "TLSRoute", "ReferenceGrant"])
def test_kinds_to_come_are_known_by_name(kind: str) -> None:
    found = BY_NAME["gateway.networking.k8s.io", kind]
    assert found.struct is None


def test_what_the_mesh_judges_is_either_effective_or_said_to_have_no_effect() -> None:
    effective = {"VirtualService", "DestinationRule", "AuthorizationPolicy", "PeerAuthentication"}
    assert effective <= {kind.name for kind in KINDS if kind.struct and kind.effective}


def test_slips_are_understood() -> None:
    assert suggestion("v1", "Servce") == "v1 Service"
    assert suggestion("v1", "VirtualService") == "networking.istio.io/v1 VirtualService"
    assert suggestion("networking.istio.io/v1", "Virtualservice").endswith(" VirtualService")
    assert suggestion("networking.istio.io/v1", "Zebra") == ""


def test_no_two_rows_are_of_one_kind() -> None:
    assert len(BY_NAME) == len(KINDS)
    assert len({(kind.group, kind.plural) for kind in KINDS}) == len(KINDS)
    assert BY_TYPE[VirtualService].short_names == ("vs",)
    assert not BY_TYPE[kubernetes.Namespace].namespaced
