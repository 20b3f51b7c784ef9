"""A spec that every API server takes, of each of Istio's kinds, as YAML."""

GOOD = {
    "AuthorizationPolicy": (
        "{action: DENY, rules: [{from: [{source: {namespaces: [a]}}], "
        "to: [{operation: {paths: [/a], ports: ['80']}}], "
        "when: [{key: source.ip, values: [1.2.3.4]}]}]}"
    ),
    "DestinationRule": (
        "{host: a.b, trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: "
        "{name: a, ttl: 0s}}}, connectionPool: {tcp: {connectTimeout: 1s, idleTimeout: 0s}}, "
        "outlierDetection: {consecutive5xxErrors: null}}, subsets: [{name: a, labels: {b: c}}]}"
    ),
    "EnvoyFilter": (
        "{priority: -5, configPatches: [{applyTo: CLUSTER, match: {cluster: {service: a}}, "
        "patch: {operation: MERGE, value: {any: {thing: [1, {x: y}]}}}}]}"
    ),
    "Gateway": (
        "{selector: {istio: a}, servers: [{port: {number: 443, name: a, protocol: HTTPS}, "
        "hosts: ['*'], tls: {mode: SIMPLE, credentialName: a}}]}"
    ),
    "PeerAuthentication": (
        "{selector: {matchLabels: {a: b}}, mtls: {mode: STRICT}, "
        "portLevelMtls: {8080: {mode: DISABLE}}}"
    ),
    "ProxyConfig": "{concurrency: 0, environmentVariables: {A: b}, image: {imageType: debug}}",
    "RequestAuthentication": (
        "{jwtRules: [{issuer: a, jwksUri: 'https://a/b', timeout: 5s, "
        "fromHeaders: [{name: x, prefix: y}], outputClaimToHeaders: [{header: x-a, claim: b}]}]}"
    ),
    "ServiceEntry": (
        "{hosts: [a.b], addresses: [1.2.3.4], resolution: STATIC, location: MESH_INTERNAL, "
        "ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8080}], "
        "endpoints: [{address: 1.2.3.4, ports: {http: 8081}}]}"
    ),
    "Sidecar": (
        "{ingress: [{port: {number: 80, protocol: HTTP, name: a}, "
        "defaultEndpoint: '127.0.0.1:8080'}], egress: [{hosts: [./*]}]}"
    ),
    "Telemetry": (
        "{tracing: [{randomSamplingPercentage: 1.5, customTags: {a: {literal: {value: b}}}}], "
        "metrics: [{overrides: [{match: {metric: REQUEST_COUNT}, "
        "tagOverrides: {a: {operation: REMOVE}}}]}], "
        "accessLogging: [{filter: {expression: response.code >= 400}}]}"
    ),
    "TrafficExtension": "{phase: AUTHN, lua: {inlineCode: 'function a() end'}}",
    "VirtualService": (
        "{hosts: [a.b], http: [{match: [{uri: {prefix: /a}}], timeout: 1s, "
        "mirror_percent: 5, retries: {attempts: 2}, fault: {abort: {httpStatus: 500}}, "
        "route: [{destination: {host: a, port: {number: 80}}, weight: 1}]}]}"
    ),
    "WasmPlugin": (
        "{url: 'oci://a/b:1', pluginConfig: {any: {thing: [1]}}, "
        "vmConfig: {env: [{name: A, value: b}]}, match: [{ports: [{number: 80}]}]}"
    ),
    "WorkloadEntry": "{address: 1.2.3.4, ports: {http: 80}, labels: {a: b}, locality: a/b/c}",
    "WorkloadGroup": (
        "{metadata: {labels: {a: b}}, template: {ports: {http: 80}, serviceAccount: a}, "
        "probe: {httpGet: {port: 80, httpHeaders: [{name: X-A, value: b}]}}}"
    ),
}
