"""What gRPC programs can test of access rules themselves; they refuse a listener for the rest.

They read no tokens, so nothing that one says, and know no templates of paths. Of headers they do
not show those that gRPC makes itself (its proposals A39 and A41).
"""

from envoy.config.rbac.v3.rbac_pb2 import Permission, Principal
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher

_PERMISSIONS = frozenset(
    {
        "and_rules",
        "or_rules",
        "any",
        "header",
        "url_path",
        "destination_ip",
        "destination_port",
        "requested_server_name",
    }
)
_PRINCIPALS = frozenset(
    {
        "and_ids",
        "or_ids",
        "any",
        "header",
        "url_path",
        "authenticated",
        "direct_remote_ip",
        "remote_ip",
    }
)


def testable(test: Permission | Principal) -> bool:
    """Tell whether a gRPC program can test it, with all that it is made of."""
    return _permission(test) if isinstance(test, Permission) else _principal(test)


def _permission(test: Permission) -> bool:
    kind = test.WhichOneof("rule")
    if kind == "not_rule":
        return _permission(test.not_rule)
    parts = (*test.and_rules.rules, *test.or_rules.rules)
    return kind in _PERMISSIONS and _is_shown(test.header) and all(map(_permission, parts))


def _principal(test: Principal) -> bool:
    kind = test.WhichOneof("identifier")
    if kind == "not_id":
        return _principal(test.not_id)
    parts = (*test.and_ids.ids, *test.or_ids.ids)
    return kind in _PRINCIPALS and _is_shown(test.header) and all(map(_principal, parts))


def _is_shown(header: HeaderMatcher) -> bool:
    return header.name != ":scheme" and not header.name.startswith("grpc-")
