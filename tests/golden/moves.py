"""Moves: the traffic policies of a DestinationRule, put where the same type may stand too.

A policy for a whole host becomes one for each of its ports, for a subset, or for the ports of a
subset. What a golden case shows of a field at the first place is so looked for at the others.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

Raw = dict[str, Any]
_AT_PORTS = ("loadBalancer", "connectionPool", "outlierDetection", "tls")


def ports(documents: Iterable[Raw]) -> list[int]:
    """Return the ports that the services of a case have."""
    specs = [one.get("spec", {}) for one in documents if one["kind"] in {"Service", "ServiceEntry"}]
    found = [
        port.get("port") or port.get("number") for spec in specs for port in spec.get("ports", ())
    ]
    return sorted(set(found))


def _to_ports(rule: Raw, numbers: list[int]) -> Raw:
    made = copy.deepcopy(rule)
    policy = made["spec"].get("trafficPolicy")
    if policy:
        made["spec"]["trafficPolicy"] = _at_ports(policy, numbers)
    return made


def _at_ports(policy: Raw, numbers: list[int]) -> Raw:
    alike = {name: policy[name] for name in _AT_PORTS if name in policy}
    rest = {name: value for name, value in policy.items() if name not in alike}
    if not alike or "portLevelSettings" in rest:
        return policy
    settings = [{"port": {"number": number}, **copy.deepcopy(alike)} for number in numbers]
    return {**rest, "portLevelSettings": settings}


def _to_subset(rule: Raw, numbers: list[int]) -> Raw:
    del numbers
    made = copy.deepcopy(rule)
    policy = made["spec"].pop("trafficPolicy", None)
    if policy:
        made["spec"]["subsets"] = [{"name": "moved", "labels": {}, "trafficPolicy": policy}]
    return made


def _to_ports_of_subset(rule: Raw, numbers: list[int]) -> Raw:
    return _to_subset(_to_ports(rule, numbers), numbers)


def routing(rule: Raw) -> Raw:
    """Return the routing that leads to the subset of a rule that was moved."""
    metadata = {**rule["metadata"], "name": f"moved-{rule['metadata']['name']}"}
    destination = {"destination": {"host": rule["spec"]["host"], "subset": "moved"}}
    routes = [{"route": [destination]}]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": metadata,
        "spec": {"hosts": [rule["spec"]["host"]], "http": routes, "tcp": routes},
    }


MOVES: tuple[Callable[[Raw, list[int]], Raw], ...] = (_to_ports, _to_subset, _to_ports_of_subset)
