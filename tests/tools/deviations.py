"""Deviations: where Seine differs from Istio on purpose, each with its reason.

What is not done yet stands in the rows of fields, not here. Whoever decides to differ adds a row.
"""

from typing import NamedTuple


class Deviation(NamedTuple):
    """A difference that a user of Istio could notice."""

    where: str
    what: str
    why: str


DEVIATIONS = (
    Deviation(
        "all kinds",
        "durations that are not whole milliseconds are refused",
        "Envoy's timers have no finer grain: rounding in silence would hide it",
    ),
    Deviation(
        "VirtualService",
        "a status of 600 is refused",
        "Envoy refuses the whole listener or route configuration for it",
    ),
    Deviation(
        "AuthorizationPolicy",
        "an empty item of `from` or `to` is refused",
        "Istio takes it for everyone, which is hardly ever meant",
    ),
    Deviation(
        "AuthorizationPolicy",
        "a rule of ALLOW that only says who a caller is not (`notPrincipals`, `notNamespaces`, …) "
        "does not allow callers without an identity",
        "in plaintext everybody would be let in, which nobody means who writes such a rule",
    ),
    Deviation(
        "WasmPlugin, TrafficExtension",
        "a URL that names no host is refused",
        "it could never be fetched",
    ),
    Deviation("WorkloadGroup", "probes by gRPC are accepted", "Istio's own types have them"),
    Deviation(
        "all kinds",
        "a field that is there but empty, beside one that excludes it, is accepted",
        "templates write such fields, and they ask for nothing",
    ),
    Deviation(
        "pushes",
        "no debounce: a lone change is pushed at once ([ADR 4](../adr/0004-no-debounce.md))",
        "Istio's 100 ms are most of the time that such a change takes",
    ),
    Deviation(
        "refusals",
        "after a refusal, route configurations and load assignments that were not at fault are "
        "sent once more ([ADR 16](../adr/0016-the-innocent-are-sent-once-more.md))",
        "Envoy stops at the first bad one, and the others would stay old",
    ),
    Deviation(
        "Sidecar and explicit ports",
        "interception mode NONE binds a listener for each service port to an address of the "
        "proxy's own ([ADR 5](../adr/0005-explicit-listeners-without-privileges.md))",
        "so that a mesh runs on one machine without privileges",
    ),
    Deviation(
        "ServiceEntry",
        "automatic addresses are computed from namespace, name and host, and are not written into "
        "the status ([ADR 13](../adr/0013-automatic-addresses-are-computed.md))",
        "no leader and no store are needed, and replicas agree",
    ),
    Deviation(
        "RequestAuthentication",
        "discovery alone fetches keys, never from link-local or metadata addresses; a set without "
        "keys refuses every token ([ADR 14](../adr/0014-keys-of-issuers-and-nobodys.md))",
        "a policy must not make others ask arbitrary addresses, nor fail open",
    ),
    Deviation(
        "metrics",
        "callers are known by headers that mesh TLS must confirm, and Istio's own proxies do not "
        "read them ([ADR 15](../adr/0015-peers-tell-each-other-who-they-are.md))",
        "Envoy as it is released has no filter for Istio's exchange of metadata",
    ),
    Deviation(
        "metrics",
        "messages of gRPC are not counted",
        "Envoy shows both of their numbers as one text only",
    ),
    Deviation(
        "EnvoyFilter",
        "a filter that would stand behind the one that ends a chain stands in front of it "
        "([ADR 12](../adr/0012-patches-after-generation.md))",
        "Envoy never accepts the other order",
    ),
)
