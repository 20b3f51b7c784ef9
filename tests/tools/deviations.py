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
        "AuthorizationPolicy",
        "a gRPC program that serves without a proxy lets in the mesh's trust domains alone, and "
        "nobody where no rule of ALLOW can be tested "
        "([ADR 56](../adr/0056-grpc-servers-judge-by-what-they-can.md))",
        "Istio lets in whoever a trusted root signed for, and everybody where no rule is left",
    ),
    Deviation(
        "AuthorizationPolicy",
        "of a rule that a gRPC program cannot test, an ALLOW is left out and a DENY covers more; "
        "what CUSTOM covers is refused, what is only rehearsed has no effect, and aliases of the "
        "trust domain count",
        "Istio sends such programs rules for which they refuse to serve, enforces rehearsals, and "
        "leaves out CUSTOM and aliases",
    ),
    Deviation(
        "gRPC without a proxy",
        "a service is dialled by each of its names and addresses, and at ports of any protocol",
        "Istio knows whole names and those of the program's own namespace, and has no routes for "
        "ports that are not named for HTTP or gRPC: such calls fail",
    ),
    Deviation(
        "gRPC without a proxy",
        "LEAST_REQUEST is offered, not imposed, and `maglev` is a ring "
        "([ADR 71](../adr/0071-grpc-programs-balance-as-they-can.md))",
        "gRPC refuses a cluster for a way to balance that it does not know, and calls fail",
    ),
    Deviation(
        "gRPC without a proxy",
        "requests are unlimited unless `http2MaxRequests`, or the `defaultTrafficPolicy` of "
        "MeshConfig, says otherwise",
        "so they are documented; Istio says nothing, and gRPC takes 1024 for that",
    ),
    Deviation(
        "gRPC without a proxy",
        "a service that DNS resolves is called at its first name",
        "Istio has a cluster without endpoints there: such calls fail",
    ),
    Deviation(
        "gRPC without a proxy",
        "`subjectAltNames` hold with ISTIO_MUTUAL",
        "Istio asks for the service's accounts instead, whatever is written",
    ),
    Deviation(
        "WasmPlugin, TrafficExtension",
        "a URL that names no host is refused",
        "it could never be fetched",
    ),
    Deviation(
        "WasmPlugin, TrafficExtension",
        "a module that Envoy refuses is skipped if it may be, also in a new proxy; one of "
        "connections has another name than one of requests "
        "([ADR 63](../adr/0063-modules-that-are-refused.md))",
        "in Istio such a proxy answers 500 whatever `failStrategy` says",
    ),
    Deviation(
        "WasmPlugin, TrafficExtension",
        "the agent lets an Envoy of its own try modules and scripts before the proxy gets them "
        "([ADR 75](../adr/0075-extensions-are-tried-first.md))",
        "what Envoy refuses freezes every listener that has it, and what never ends stops Envoy",
    ),
    Deviation(
        "WasmPlugin, TrafficExtension",
        "a module of connections is in every chain that stands for a service",
        "Istio gives it to the first chain of an outbound listener for requests only",
    ),
    Deviation("WorkloadGroup", "probes by gRPC are accepted", "Istio's own types have them"),
    Deviation(
        "WorkloadGroup",
        "a machine's labels are the group's, whatever the machine says, and a group without an "
        "account is for `default` "
        "([ADR 45](../adr/0045-discoverys-leader-registers-machines.md))",
        "services and policies select by labels: a machine must not choose what it belongs to",
    ),
    Deviation(
        "WorkloadGroup",
        "a workload that was never well is told as unhealthy, with the reason",
        "Istio's agent says nothing of it, and nobody learns why it gets no traffic",
    ),
    Deviation(
        "all kinds",
        "a field that is there but empty, beside one that excludes it, is accepted",
        "templates write such fields, and they ask for nothing",
    ),
    Deviation(
        "all kinds",
        "texts with line breaks or zero bytes, rings and names of TLS that are too large, commands "
        "of formats and expressions that Envoy does not know are refused "
        "([ADR 55](../adr/0055-what-envoy-refuses-is-refused-earlier.md))",
        "Envoy refuses whatever they stand in, with what others have there",
    ),
    Deviation(
        "Gateway, Sidecar",
        "an item of `verifyCertificateSpki` or `verifyCertificateHash` that is no digest is "
        "refused",
        "to leave it out would let others in, and Envoy refuses the listener that has it",
    ),
    Deviation(
        "VirtualService",
        "a match of a query parameter without a name is refused",
        "Envoy refuses the whole route configuration for it",
    ),
    Deviation(
        "VirtualService",
        "of a header, the expression `*` means that it is there",
        "Istio's routes read it so, but its validation refuses it",
    ),
    Deviation(
        "VirtualService",
        "`destinationSubnets` of a match of TLS hold for that match alone",
        "in Istio those that follow keep them: two chains for one name, and Envoy refuses the "
        "listener",
    ),
    Deviation(
        "VirtualService",
        "`\\C` in a regular expression is accepted",
        "Envoy's RE2 knows it; Istio asks Go's",
    ),
    Deviation(
        "VirtualService",
        "a rule behind one that wants a header to be there (`x: {}`) is not called unreachable",
        "requests without the header reach it",
    ),
    Deviation(
        "DestinationRule",
        "a negative `ttl` of a cookie or `budgetInterval` is refused",
        "there is no such time",
    ),
    Deviation(
        "Sidecar",
        "`bind` of an egress listener without a port and without `captureMode: NONE` is warned of, "
        "and has no effect",
        "Istio moves all listeners to that address, where intercepted connections never arrive",
    ),
    Deviation(
        "Sidecar",
        "services with TLS that share a socket of the proxy are told apart by name",
        "Istio leads all that arrives there to the first",
    ),
    Deviation(
        "EnvoyFilter",
        "a patch that names a type that we do not know is a warning, and left out "
        "([ADR 60](../adr/0060-admission-reads-what-patches-hold.md))",
        "it may be one of another build of Envoy; Istio refuses it, or its own Envoy has it",
    ),
    Deviation(
        "EnvoyFilter",
        "a patch that sets two fields of which Envoy takes one is refused",
        "Istio takes whichever comes last",
    ),
    Deviation(
        "MeshConfig",
        "ports, times, counts, selectors, formats and providers that cannot be are refused, and "
        "the last good MeshConfig stays in force",
        "Istio takes them, and proxies get what Envoy refuses, or nothing",
    ),
    Deviation(
        "MeshConfig",
        "with ALLOW_ANY_DYNAMIC_DNS, servers that speak first are reached: after five seconds of "
        "silence, or `protocolDetectionTimeout`",
        "Istio waits for the client's first bytes for 15 seconds, and then ends the connection",
    ),
    Deviation(
        "files",
        "in brackets, an address that begins or ends with `::` stands in quotes",
        "for YAML the colon starts a value there; the problem says so",
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
        "RequestAuthentication",
        "`presence: REQUIRED` refuses requests without a token",
        "so it is documented; Istio does not look at it yet",
    ),
    Deviation(
        "metrics",
        "callers are known by headers that mesh TLS must confirm, and Istio's own proxies do not "
        "read them ([ADR 15](../adr/0015-peers-tell-each-other-who-they-are.md))",
        "Envoy as it is released has no filter for Istio's exchange of metadata",
    ),
    Deviation(
        "metrics",
        "messages of gRPC are counted when their stream ends; of one that is reset, those that "
        "were noted on the way: nearly all up to the last part of the response "
        "([ADR 47](../adr/0047-a-script-notes-the-messages-of-grpc.md))",
        "Istio's own filter reports streams that go on every few seconds; Envoy's logger asks once",
    ),
    Deviation(
        "networks",
        "a gateway is in a cluster once, where those that it stands for come first "
        "([ADR 52](../adr/0052-gateways-stand-for-endpoints.md))",
        "Istio lists it in each locality; Envoy keeps the first, and forgets the others' weights",
    ),
    Deviation(
        "EnvoyFilter",
        "a filter that would stand behind the one that ends a chain stands in front of it "
        "([ADR 12](../adr/0012-patches-after-generation.md))",
        "Envoy never accepts the other order",
    ),
    Deviation(
        "Gateway",
        "of servers on one port that want the same TLS name, the newer one loses that name and "
        "keeps its others",
        "Istio drops the whole server: hosts that nobody else claims would go dark; `ns/host` and "
        "`host` are two names there, and Envoy refuses the listener that has both",
    ),
    Deviation(
        "Gateway, DestinationRule",
        "a `credentialName` with a scheme that nobody answers for (`invalid://`, "
        "`kubernetes-gateway://`, …) is refused "
        "([ADR 64](../adr/0064-names-of-credentials.md))",
        "in Istio the port takes connections, and no handshake succeeds",
    ),
    Deviation(
        "Gateway",
        "with PASSTHROUGH, a route gets those names that its server has and no earlier route wants",
        "Istio passes on whatever the route names, or leaves out all of its names for one that is "
        "taken",
    ),
    Deviation(
        "Gateway",
        "routes to hosts with DYNAMIC_DNS find them",
        "in Istio gateways have the cluster, but nothing that asks DNS: 503",
    ),
    Deviation(
        "Gateway",
        "clear text and TLS never share a port: the older server decides which it is",
        "in Istio that depends on the order: TLS keeps out clear text that is newer, but not the "
        "other way round",
    ),
    Deviation(
        "Gateway",
        "a chain for TLS takes TLS and nothing else, and an EnvoyFilter finds it by "
        "`transportProtocol: tls`",
        "bytes that are no TLS end at once, not in a handshake that cannot succeed",
    ),
    Deviation(
        "Gateway",
        "a server whose `maxProtocolVersion` is below the minimum of `tlsDefaults` speaks that "
        "version",
        "Istio sets a minimum above the maximum: Envoy has no version left, and no handshake "
        "succeeds",
    ),
    Deviation(
        "Gateway",
        "with AUTO_PASSTHROUGH, the namespace in `hosts` counts",
        "Istio opens services of every namespace, whatever is written there",
    ),
    Deviation(
        "Gateway",
        "with AUTO_PASSTHROUGH, ServiceEntries with DYNAMIC_DNS are not reached",
        "whoever asks chooses the host, and the router would call it for them",
    ),
    Deviation(
        "Gateway",
        "a host in front of a namespace is a host also with `httpsRedirect`",
        "Istio leaves `namespace/host` in the domain, which no request ever asks for",
    ),
    Deviation(
        "VirtualService",
        "a destination without a port is called at its service's only port, whatever port the "
        "listener has",
        "Istio takes the listener's port if the service is not on it, and there is no such "
        "cluster: 503",
    ),
    Deviation(
        "VirtualService",
        "a name that leads to another name of a service leads to the service, over any number of "
        "ExternalNames",
        "Istio follows one, and the next is no cluster",
    ),
    Deviation(
        "Sidecar",
        "services that imported routings lead to come along with the ports that these name, even "
        "at a listener for another port",
        "the route would be there and its cluster would not: 503",
    ),
    Deviation(
        "Sidecar",
        "the service of `egressProxy` comes along, too, and may have a short name",
        "Istio sends everything else to a cluster that the proxy may not have",
    ),
    Deviation(
        "Sidecar",
        "TLS of an `ingress` listener is ended where mutual TLS is switched off for its port",
        "Istio ignores the field unless a flag of its own is set",
    ),
    Deviation(
        "Sidecar",
        "an explicit HTTP proxy takes a host without a port for port 80, and tells ports of one "
        "host apart",
        "Istio ignores the port, so that all requests go to the service's first one",
    ),
    Deviation(
        "DestinationRule",
        "a subset's `loadBalancer` replaces PASSTHROUGH of its host",
        "Istio balances by the subset's words and connects by the host's",
    ),
    Deviation(
        "DestinationRule",
        "PASSTHROUGH at a port or subset, too, speaks mesh TLS only if all endpoints end it",
        "Istio looks at the endpoints only where the host as a whole says PASSTHROUGH: others "
        "would refuse",
    ),
    Deviation(
        "DestinationRule",
        "`proxyProtocol`, `tunnel` and `retryBudget` hold at ports that have an entry, too",
        "an entry cannot say them, so it is not meant to take them away",
    ),
    Deviation(
        "DestinationRule",
        "`tunnel` of a host holds for its subsets, too, unless they have one",
        "so it is with all that a subset does not say; Istio calls them without the tunnel",
    ),
    Deviation(
        "DestinationRule",
        "`idleTimeout`, `maxConnectionDuration` and hashing by the source's address at a port hold "
        "for connections to that port",
        "Istio's listeners read them at the host only",
    ),
    Deviation(
        "DestinationRule",
        "where a port's entry says nothing of TLS, endpoints are called as their pods allow",
        "Istio's endpoints still follow the host's TLS: plaintext, even where it is refused",
    ),
    Deviation(
        "DestinationRule",
        "a pool holds at the workload, too, with all its limits and whatever its Sidecar imports",
        "Istio leaves out what only its clients' clusters know, and policies of hosts that a "
        "Sidecar hides",
    ),
    Deviation(
        "DestinationRule",
        "`retryBudget` is the callers' alone",
        "Istio's servers have it, too, where all that is repeated are requests that the "
        "application never got",
    ),
    Deviation(
        "AuthorizationPolicy",
        "a pattern of a namespace or trust domain never reaches over a `/`",
        "in Istio `prod-*` is `.*/ns/prod-.*/.*`, which looks wherever it likes in an identity",
    ),
    Deviation(
        "AuthorizationPolicy",
        "CUSTOM denies what its rules cover where the proxy does not see the authorizer's service, "
        "because of a Sidecar or exportTo, also with `failOpen`",
        "Istio asks a cluster that the proxy has not got, so with `failOpen` it lets all in",
    ),
    Deviation(
        "AuthorizationPolicy",
        "policies are asked of an authorizer by the provider's whole name",
        "Istio compares its beginning: rules of `ask-more` would be sent to `ask`",
    ),
    Deviation(
        "AuthorizationPolicy",
        "policies judge what comes in: a sidecar's own calls to hosts with DYNAMIC_DNS go out "
        "unjudged",
        "Istio asks the caller's own policies, and authorizers, of TLS that goes there: whoever "
        "lets nobody in could not call either",
    ),
    Deviation(
        "mesh TLS",
        "a caller is known by the URI in its certificate, not by any other of its names",
        "a DNS name or address that begins like an identity is none",
    ),
    Deviation(
        "inbound TCP",
        "the application is connected when the caller's TLS stands",
        "Istio connects first: port scanners and refused callers wake the application",
    ),
    Deviation(
        "Service",
        "a UDP port has no inbound chain",
        "there is no TCP to let in",
    ),
    Deviation(
        "Service",
        "an endpoint slice that does not say whether an endpoint is terminating says that it is "
        "not",
        "so Kubernetes has it; Istio takes such an endpoint out",
    ),
    Deviation(
        "Ingress",
        "of an exact path and a prefix that differ by a final `/` only, the exact one comes first",
        "so Kubernetes has it; Istio compares them by length, with the `/`",
    ),
    Deviation(
        "dual stack",
        "addresses of a family that a proxy does not have are not among its endpoints",
        "Envoy would try them, and only then the others",
    ),
    Deviation(
        "ServiceEntry",
        "hosts with DYNAMIC_DNS share one cache of answers",
        "a host that two entries cover is asked for once",
    ),
    Deviation(
        "TrafficExtension, EnvoyFilter",
        "a script of Lua that does not compile is refused",
        "Envoy would refuse every listener that has it",
    ),
    Deviation(
        "TrafficExtension",
        "Lua comes by itself, as Wasm does",
        "a new script drains no connection",
    ),
    Deviation(
        "EnvoyFilter",
        "patches of the bootstrap hold without `BOOTSTRAP_XDS_AGENT`; it only switches them off",
        "in Istio they do nothing, and nobody says so, unless each proxy has that variable",
    ),
    Deviation(
        "EnvoyFilter",
        "a proxy starts without patches of its bootstrap that Envoy does not take",
        "in Istio it never starts",
    ),
    Deviation(
        "Sidecar",
        "a port that one listener of `egress` names leads to what that listener imports, whatever "
        "a listener without a port imports, too",
        "so it is documented; Istio opens further addresses of that port for the other listener "
        "where one speaks TCP and one HTTP",
    ),
    Deviation(
        "Service, ServiceEntry",
        "one whose `exportTo` leaves out its own namespace is hidden there from routes, too",
        "so it is written; Istio shows it to the proxies of its namespace once some "
        "VirtualService leads there",
    ),
    Deviation(
        "ServiceEntry",
        "of entries of a namespace for one host that differ in more than ports and endpoints the "
        "oldest counts, and the others are told",
        "Istio mixes them: two protocols on one port, and endpoints of both",
    ),
    Deviation(
        "WorkloadEntry",
        "one without an account is for `default`",
        "callers check who answers: Istio takes any certificate of the mesh from such a service",
    ),
    Deviation(
        "EnvoyFilter",
        "`portNumber` of a gateway's listener is the Gateway's port or the one that the proxy "
        "opens for it",
        "the first is what is documented, the second all that Istio compares",
    ),
    Deviation(
        "EnvoyFilter",
        "`filterClass` says where ADD puts a filter",
        "so it is documented; Istio does not look at it, and adds behind the one that ends the "
        "chain",
    ),
    Deviation(
        "networks",
        "a proxy that does not say its network (`ISTIO_META_NETWORK`) is in that of its pod "
        "([ADR 52](../adr/0052-gateways-stand-for-endpoints.md))",
        "in Istio it calls its neighbours, too, through the gateways of their network",
    ),
    Deviation(
        "networks",
        "in `ISTIO_META_REQUESTED_NETWORK_VIEW`, spaces around a comma do not count",
        "no network has one in its name: in Istio the proxy would not see what it asked for",
    ),
    Deviation(
        "Service",
        "sessions by a header (`istio.io/persistent-session-header`) go on at pods that drain, and "
        "so do those of subsets",
        "Istio marks such pods for them, and then leaves them out; in subsets Envoy is not told "
        "that it may go there",
    ),
    Deviation(
        "Service",
        "with `internalTrafficPolicy: Local`, an endpoint without a pod is on the node that its "
        "slice names",
        "so Kubernetes has it; Istio knows the nodes of pods only, and nobody calls the others",
    ),
    Deviation(
        "MeshConfig",
        "`outlierDetection` of `defaultTrafficPolicy` decides of endpoints what that of a "
        "DestinationRule does: localities take over for each other, and with a `minHealthPercent` "
        "pods that are not ready are left out",
        "Istio's clusters have it, but its endpoints ask DestinationRules alone",
    ),
    Deviation(
        "MeshConfig, DestinationRule",
        "a host that DNS resolves by one name alone keeps it whatever `distribute` says",
        "in Istio a name without a place gets no share, and calls to it end in 503",
    ),
    Deviation(
        "networks",
        "addresses of `meshNetworks` are not trusted as internal ones by gateways",
        "Istio trusts the ranges of one network, whichever comes last, and callers from there may "
        "set Envoy's own headers",
    ),
    Deviation(
        "metrics",
        "bytes of a lasting TCP connection are counted by our agent, every five seconds or as "
        "`reportingInterval` says, never more often than each second; beside another agent, when "
        "it ends ([ADR 61](../adr/0061-the-agent-counts-bytes-of-connections.md))",
        "what Envoy tells of one that goes on is its whole count each time: its loggers of metrics "
        "would add up wrong sums",
    ),
    Deviation(
        "MeshConfig, ProxyConfig",
        "`proxyHeaders.xForwardedHost` holds on every route",
        "Istio leaves it out where no VirtualService routes the host",
    ),
    Deviation(
        "Service",
        "a name that leads to another service is seen where its own `exportTo` says",
        "Istio shows it wherever the service that it leads to is seen",
    ),
    Deviation(
        "DestinationRule",
        "rules of a namespace for one host are one for each `exportTo` that is written; a client "
        "follows the one that began last",
        "in Istio one that comes after another `exportTo` also stands alone, without its elders",
    ),
    Deviation(
        "Gateway",
        "beside `credentialName`, `caCrl` holds; with files, `verifyCertificateSpki` and "
        "`verifyCertificateHash` do; with ISTIO_MUTUAL, versions, ciphers and curves do",
        "Istio forgets them there, and lets in whom they were to keep out",
    ),
    Deviation(
        "EnvoyFilter",
        "a value that Envoy wraps takes effect also as `false` or 0 (`use_remote_address: false`)",
        "Istio's merge does not see it",
    ),
    Deviation(
        "DestinationRule, MeshConfig",
        "where hosts are resolved when they are asked for, `subjectAltNames` are all that a server "
        "must prove",
        "Istio's clients also want the name of the host, which no such server has",
    ),
)
