"""Which localities come first: weights by distribution, priorities by nearness or by labels.

One of distribution and failover applies. Priorities have no gaps, because Envoy reads a missing one
as an empty one.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil

from msgspec import Struct, structs

from libs.model.endpoint import Endpoint, Locality
from libs.model.traffic import LocalityFailover, LocalityWeights
from libs.proxy.locality import NETWORK_LABEL, topology
from libs.proxy.scope import EndpointScope

_REGION_STEPS = 3  # priorities that regions alone can give
_FAILOVER_STEPS = 5  # priorities that nearness alone can give: same subzone … any other region


class Group(Struct, frozen=True):
    """Endpoints of one locality and priority."""

    locality: Locality
    endpoints: tuple[Endpoint, ...]
    weight: int
    priority: int = 0


def arrange(groups: list[Group], scope: EndpointScope) -> list[Group]:
    """Return `groups` with the weights and priorities that clients of `scope` give them."""
    setting = scope.balancing
    if setting is None:
        return groups
    if setting.distribute:
        return _distribute(groups, scope.locality, setting.distribute)
    if not scope.failover:
        return groups
    if setting.failover_priority and scope.labels:
        groups = _by_labels(groups, scope)
    if setting.zones:
        groups = _by_region(groups, scope.locality, setting.failover)
    elif setting.failover or not setting.failover_priority:
        groups = _by_nearness(groups, scope.locality, setting.failover)
    return _without_gaps(groups)


def _distribute(
    groups: list[Group], client: Locality, rules: Sequence[LocalityWeights]
) -> list[Group]:
    rule = next((rule for rule in rules if _covers(rule.source, client)), None)
    if rule is None:
        return groups
    found: dict[int, Group] = {}
    for pattern, share in sorted(rule.to.items(), key=_specific_first):
        free = [
            (index, group)
            for index, group in enumerate(groups)
            if index not in found and _covers(pattern, group.locality)
        ]
        total = sum(group.weight for _, group in free)
        for index, group in free:
            weight = ceil(group.weight * share / total) if total else group.weight
            found[index] = structs.replace(group, weight=weight or group.weight)
    # A locality that no rule names gets nothing.
    return [
        found.get(index, structs.replace(group, endpoints=())) for index, group in enumerate(groups)
    ]


def _specific_first(item: tuple[str, int]) -> tuple[int, str]:
    pattern = item[0]
    return -sum(part not in {"", "*"} for part in pattern.split("/")), pattern


def _covers(pattern: str, place: Locality) -> bool:
    parts = [*pattern.split("/", 2), "", ""][:3]
    region, zone, subzone = parts
    return (
        region in {"*", place.region}
        and zone in {"*", "", place.zone}
        and subzone in {"*", "", place.subzone}
    )


def _by_nearness(
    groups: Iterable[Group], client: Locality, failover: Sequence[LocalityFailover]
) -> list[Group]:
    rule = next((rule for rule in failover if rule.source == client.region), None)
    return [
        structs.replace(
            group,
            priority=group.priority * _FAILOVER_STEPS + _distance(client, group.locality, rule),
        )
        for group in groups
    ]


def _by_region(
    groups: Iterable[Group], client: Locality, failover: Sequence[LocalityFailover]
) -> list[Group]:
    """Whole regions come first or later: among the zones of one of them Envoy chooses."""
    rule = next((rule for rule in failover if rule.source == client.region), None)

    def rank(place: Locality) -> int:
        if place.region == client.region:
            return 0
        return 1 if rule is not None and place.region == rule.to else 2

    return [
        structs.replace(it, priority=it.priority * _REGION_STEPS + rank(it.locality))
        for it in groups
    ]


def _distance(client: Locality, place: Locality, rule: LocalityFailover | None) -> int:
    if place.region != client.region:
        return 4 if rule is not None and place.region != rule.to else 3
    if place.zone != client.zone:
        return 2
    return 0 if place.subzone == client.subzone else 1


def _by_labels(groups: Iterable[Group], scope: EndpointScope) -> list[Group]:
    found: list[Group] = []
    for group in groups:
        by_priority: dict[int, list[Endpoint]] = {}
        for endpoint in group.endpoints:
            by_priority.setdefault(_difference(scope.labels, _labels(endpoint)), []).append(
                endpoint
            )
        for priority, members in sorted(by_priority.items()):
            weight = sum(member.weight for member in members)
            found.append(Group(group.locality, tuple(members), weight, priority))
    return found


def _labels(endpoint: Endpoint) -> dict[str, str]:
    """Return the labels of an endpoint; what its topology leaves open, they may say.

    Of a gateway nothing is known but its network, wherever the endpoints are that it stands for.
    """
    place = Locality() if endpoint.gateway else endpoint.locality
    known = topology(place, endpoint.network, endpoint.node).items()
    return {**endpoint.labels, **{key: value for key, value in known if value}}


def _difference(wanted: Mapping[str, str], labels: Mapping[str, str]) -> int:
    """Return how many labels, from the first that differs on, an endpoint has not in common.

    A different network, if it is named first, puts an endpoint behind all of its own network.
    """
    lowest, behind = len(wanted), 0
    for position, (key, value) in enumerate(wanted.items()):
        if labels.get(key, "") == value:
            continue
        if position == 0 and key == NETWORK_LABEL:
            behind = lowest
            continue
        return lowest - position + behind
    return behind


def _without_gaps(groups: list[Group]) -> list[Group]:
    ranks = {
        priority: rank for rank, priority in enumerate(sorted({group.priority for group in groups}))
    }
    return [structs.replace(group, priority=ranks[group.priority]) for group in groups]
