"""A second opinion on generated RBAC: evaluates Envoy's messages as Envoy documents them.

Regular expressions are evaluated by RE2 itself and match the whole text, as in Envoy.
"""

from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network

import re2
from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Policy, Principal
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from msgspec import Struct


class Call(Struct, frozen=True, kw_only=True):
    """One request, or with no headers one connection."""

    identity: str = ""  # the SPIFFE id that the caller proved, with its scheme
    address: str = "10.0.0.1"
    port: int = 80
    server_name: str = ""
    headers: Mapping[str, str] = {}  # with :authority, :method and :path


def allowed(filters: list[RBAC], call: Call) -> bool:
    """Tell whether all filters let `call` pass."""
    return all(_passes(rules, call) for rules in filters)


def _passes(rules: RBAC, call: Call) -> bool:
    matched = any(matches(policy, call) for policy in rules.policies.values())
    if rules.action == RBAC.Action.LOG:
        return True
    return matched is (rules.action == RBAC.Action.ALLOW)


def matches(policy: Policy, call: Call) -> bool:
    """Tell whether a policy covers `call`."""
    return any(permits(one, call) for one in policy.permissions) and any(
        covers(one, call) for one in policy.principals
    )


def permits(test: Permission, call: Call) -> bool:
    """Evaluate a permission."""
    kind = test.WhichOneof("rule")
    match kind:
        case "any":
            return True
        case "and_rules":
            return all(permits(one, call) for one in test.and_rules.rules)
        case "or_rules":
            return any(permits(one, call) for one in test.or_rules.rules)
        case "not_rule":
            return not permits(test.not_rule, call)
    simple: dict[str, Callable[[], bool]] = {
        "header": lambda: header(test.header, call.headers),
        "url_path": lambda: string(test.url_path.path, call.headers[":path"].partition("?")[0]),
        "destination_port": lambda: test.destination_port == call.port,
        "requested_server_name": lambda: string(test.requested_server_name, call.server_name),
        "sourced_metadata": lambda: False,  # nothing sets any
    }
    return simple[str(kind)]()


def covers(test: Principal, call: Call) -> bool:
    """Evaluate a principal."""
    kind = test.WhichOneof("identifier")
    match kind:
        case "any":
            return True
        case "and_ids":
            return all(covers(one, call) for one in test.and_ids.ids)
        case "or_ids":
            return any(covers(one, call) for one in test.or_ids.ids)
        case "not_id":
            return not covers(test.not_id, call)
        case "authenticated":
            return bool(call.identity) and string(test.authenticated.principal_name, call.identity)
    simple: dict[str, Callable[[], bool]] = {
        "direct_remote_ip": lambda: _within(test.direct_remote_ip, call.address),
        "remote_ip": lambda: _within(test.remote_ip, call.address),
        "header": lambda: header(test.header, call.headers),
        "sourced_metadata": lambda: False,  # nothing sets any
    }
    return simple[str(kind)]()


def header(test: HeaderMatcher, headers: Mapping[str, str]) -> bool:
    """Evaluate a header matcher."""
    if test.WhichOneof("header_match_specifier") == "present_match":
        return (test.name in headers) is test.present_match
    return test.name in headers and string(test.string_match, headers[test.name])


def string(test: StringMatcher, text: str) -> bool:
    """Evaluate a string matcher."""
    kind = str(test.WhichOneof("match_pattern"))
    if kind == "safe_regex":
        return re2.fullmatch(test.safe_regex.regex, text) is not None
    wanted = str(getattr(test, kind))
    if test.ignore_case:
        wanted, text = wanted.lower(), text.lower()
    if kind == "prefix":
        return text.startswith(wanted)
    return text.endswith(wanted) if kind == "suffix" else text == wanted


def _within(block: CidrRange, address: str) -> bool:
    network = ip_network(f"{block.address_prefix}/{block.prefix_len.value}", strict=False)
    return ip_address(address) in network
