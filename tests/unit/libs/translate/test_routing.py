from libs.model.traffic import (
    Abort,
    Cors,
    Delay,
    Destination,
    DirectResponse,
    Fault,
    HeaderOperations,
    HttpMatch,
    HttpRoute,
    MatchKind,
    Mirror,
    NamedMatch,
    Redirect,
    RegexRewrite,
    Retries,
    Rewrite,
    Routing,
    StreamMatch,
    StreamRoute,
    StringMatch,
    WeightedDestination,
)
from tests.support.resources import mesh_of

HEADER = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop, creationTimestamp: 1970-01-01T00:00:05Z}
spec:
"""
REVIEWS = "reviews.shop.svc.cluster.local"


def routing(spec: str) -> Routing:
    (found,) = mesh_of(HEADER + spec).routings.values()
    return found


def route(rule: str) -> HttpRoute:
    (found,) = routing(f"  hosts: [reviews]\n  http:\n  - {rule}\n").http
    return found


def test_names_are_made_full() -> None:
    found = routing("""
  hosts: [reviews, reviews.other, "*.Example.com", reviews]
  gateways: [mesh, front, istio-system/edge, ./own, old.istio-system.svc.cluster.local]
  exportTo: ["."]
  http: [{route: [{destination: {host: ratings, subset: v1, port: {number: 9080}}}]}]
""")
    assert found.ref == "VirtualService/shop/reviews"
    assert (found.namespace, found.name, found.created) == ("shop", "reviews", 5)
    assert found.hosts == (REVIEWS, "reviews.other", "*.example.com")
    assert found.gateways == (
        "mesh",
        "shop/front",
        "istio-system/edge",
        "shop/own",
        "istio-system/old",
    )
    assert found.export_to == (".",)
    assert found.http[0].destinations == (
        WeightedDestination(Destination("ratings.shop.svc.cluster.local", "v1", 9080)),
    )


def test_without_gateways_it_is_for_sidecars() -> None:
    assert routing("  {hosts: [a], tcp: [{route: [{destination: {host: a}}]}]}").gateways == (
        "mesh",
    )


def test_a_delegate_has_no_hosts_and_no_row() -> None:
    mesh = mesh_of(HEADER + "  http: [{route: [{destination: {host: reviews}}]}]")
    assert not mesh.routings


def test_matches() -> None:
    found = route("""
      match:
      - name: m
        uri: {prefix: /api}
        ignoreUriCase: true
        scheme: {exact: https}
        method: {regex: "GET|HEAD"}
        authority: {}
        headers: {x-b: {regex: "*"}, x-a: {exact: "1"}, x-c: {}}
        withoutHeaders: {x-d: {prefix: p}}
        queryParams: {q: {exact: v}}
        port: 80
        sourceLabels: {app: front}
        sourceNamespace: web
        gateways: [front]
        statPrefix: s
      route: [{destination: {host: reviews}}]
""")
    assert found.matches == (
        HttpMatch(
            name="m",
            uri=StringMatch(MatchKind.PREFIX, "/api"),
            ignore_uri_case=True,
            scheme=StringMatch(MatchKind.EXACT, "https"),
            method=StringMatch(MatchKind.REGEX, "GET|HEAD"),
            authority=None,
            headers=(
                NamedMatch("x-a", StringMatch(MatchKind.EXACT, "1")),
                NamedMatch("x-b", StringMatch(MatchKind.PRESENT)),
                NamedMatch("x-c", StringMatch(MatchKind.PRESENT)),
            ),
            without_headers=(NamedMatch("x-d", StringMatch(MatchKind.PREFIX, "p")),),
            query_params=(NamedMatch("q", StringMatch(MatchKind.EXACT, "v")),),
            port=80,
            source_labels={"app": "front"},
            source_namespace="web",
            gateways=("shop/front",),
            stat_prefix="s",
        ),
    )


def test_weights_timeouts_retries_and_headers() -> None:
    found = route("""
      name: main
      route:
      - destination: {host: reviews, subset: v1}
        weight: 80
        headers: {response: {remove: [x-debug]}}
      - {destination: {host: reviews, subset: v2}, weight: 20}
      timeout: 1.5s
      retries: {attempts: 3, perTryTimeout: 250ms, retryOn: "5xx,503", backoff: 10ms}
      headers: {request: {set: {a: "1"}, add: {b: "2"}}}
""")
    assert found.name == "main"
    assert [it.weight for it in found.destinations] == [80, 20]
    assert found.destinations[0].headers == HeaderOperations(response_remove=("x-debug",))
    assert found.timeout == 1500
    assert found.retries == Retries(attempts=3, per_try_timeout=250, retry_on="5xx,503", backoff=10)
    assert found.headers == HeaderOperations(request_set={"a": "1"}, request_add={"b": "2"})


def test_no_timeout_is_none_and_no_retries_are_the_meshs() -> None:
    found = route("route: [{destination: {host: reviews}}]")
    assert found.timeout is None
    assert found.retries is None


def test_redirects_rewrites_and_direct_responses() -> None:
    assert route("redirect: {uri: /new, derivePort: FROM_REQUEST_PORT}").redirect == Redirect(
        uri="/new", derive_port="FROM_REQUEST_PORT", code=301
    )
    assert route("redirect: {authority: b, port: 8443, redirectCode: 308}").redirect == Redirect(
        authority="b", port=8443, code=308
    )
    rewritten = route("""
      rewrite: {authority: b, uriRegexRewrite: {match: "^/a/(.*)", rewrite: '/\\1'}}
      route: [{destination: {host: reviews}}]
""")
    assert rewritten.rewrite == Rewrite(authority="b", uri_regex=RegexRewrite("^/a/(.*)", "/\\1"))
    assert route("directResponse: {status: 503, body: {string: ä}}").direct_response == (
        DirectResponse(503, "ä".encode())
    )
    assert route("directResponse: {status: 200, body: {bytes: aGk=}}").direct_response == (
        DirectResponse(200, b"hi")
    )


def test_faults() -> None:
    found = route("""
      fault:
        delay: {fixedDelay: 2s}
        abort: {httpStatus: 503}
      route: [{destination: {host: reviews}}]
""")
    assert found.fault == Fault(Delay(2000, 0.0), Abort(http_status=503, percentage=0.0))
    found = route("""
      fault:
        delay: {fixedDelay: 2s, percentage: {value: 0.5}}
        abort: {grpcStatus: UNAVAILABLE, percentage: {value: 10}}
      route: [{destination: {host: reviews}}]
""")
    assert found.fault == Fault(Delay(2000, 0.5), Abort(grpc_status="UNAVAILABLE", percentage=10.0))


def test_mirrors() -> None:
    ratings = Destination("ratings.shop.svc.cluster.local")
    base = "route: [{destination: {host: reviews}}]\n    "
    assert route(base + "mirror: {host: ratings}").mirrors == (Mirror(ratings, 100.0),)
    assert route(base + "mirror: {host: ratings}\n    mirrorPercentage: {value: 5}").mirrors == (
        Mirror(ratings, 5.0),
    )
    assert route(base + "mirror: {host: ratings}\n    mirrorPercentage: {value: 0}").mirrors == ()
    assert route(base + "mirror: {host: ratings}\n    mirrorPercent: 7").mirrors == (
        Mirror(ratings, 7.0),
    )
    assert route(base + "mirrors: [{destination: {host: ratings}}]").mirrors == (
        Mirror(ratings, 100.0),
    )


def test_cors() -> None:
    found = route("""
      corsPolicy:
        allowOrigins: [{exact: "https://a"}]
        allowMethods: [GET]
        maxAge: 24h
        allowCredentials: false
        unmatchedPreflights: IGNORE
      route: [{destination: {host: reviews}}]
""")
    assert found.cors == Cors(
        allow_origins=(StringMatch(MatchKind.EXACT, "https://a"),),
        allow_methods=("GET",),
        max_age=86_400_000,
        allow_credentials=False,
        unmatched_preflights="IGNORE",
    )


def test_connections() -> None:
    found = routing("""
  hosts: [db]
  tls:
  - match: [{sniHosts: [db.example.com], port: 443}]
    route: [{destination: {host: db, port: {number: 443}}}]
  tcp:
  - match: [{destinationSubnets: [10.0.0.0/8], port: 5432, sourceLabels: {app: a}}]
    route:
    - {destination: {host: db, subset: v1}, weight: 1}
    - {destination: {host: db, subset: v2}, weight: 3}
""")
    host = "db.shop.svc.cluster.local"
    assert found.tls == (
        StreamRoute(
            (StreamMatch(sni_hosts=("db.example.com",), port=443),),
            (WeightedDestination(Destination(host, "", 443)),),
        ),
    )
    assert found.tcp == (
        StreamRoute(
            (
                StreamMatch(
                    destination_subnets=("10.0.0.0/8",), port=5432, source_labels={"app": "a"}
                ),
            ),
            (
                WeightedDestination(Destination(host, "v1"), 1),
                WeightedDestination(Destination(host, "v2"), 3),
            ),
        ),
    )
