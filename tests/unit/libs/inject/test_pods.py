"""What a pod looks like with its proxy, and that it looks so whenever it is injected again."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.api.kubernetes import ConfigMap
from libs.api.mesh_config import MeshConfig
from libs.api.networking.proxy_config import ProxyConfig, ProxyConfigSpec
from libs.api.proxy_defaults import Interception, ProxyDefaults
from libs.api.resource import Metadata
from libs.inject import config, words
from libs.inject.scene import Settings
from tests.support.pods import injected, injector, names, pod, proxy, result, variables

STATUS = "sidecar.istio.io/status"
AUTO = {"name": "istio-proxy", "image": "auto"}
GATEWAY = {"inject.istio.io/templates": "gateway"}


def _config(of: dict[str, Any]) -> dict[str, Any]:
    found = json.loads(variables(proxy(of))["PROXY_CONFIG"])
    assert isinstance(found, dict)
    return found


def _mesh(**defaults: Any) -> MeshConfig:  # noqa: ANN401
    return MeshConfig(default_config=ProxyDefaults(**defaults))


# Where the containers stand.


def test_a_native_sidecar_runs_before_the_pods_own_init_containers() -> None:
    made = result(pod(initContainers=[{"name": "setup"}]))
    assert names(made, "initContainers") == ["istio-init", "istio-proxy", "setup"]
    assert names(made) == ["app"]
    assert proxy(made)["restartPolicy"] == "Always"
    assert proxy(made)["startupProbe"]["httpGet"] == {"path": "/healthz/ready", "port": 15021}
    drain = ["service", "request", "--debug-port=15020", "POST", "drain"]
    assert proxy(made)["lifecycle"]["preStop"]["exec"]["command"] == drain


def test_an_ordinary_sidecar_comes_last_and_so_do_its_rules() -> None:
    made = result(pod(initContainers=[{"name": "setup"}]), native=False)
    assert names(made, "initContainers") == ["setup", "istio-init"]
    assert names(made) == ["app", "istio-proxy"]
    assert "restartPolicy" not in proxy(made)
    assert "lifecycle" not in proxy(made)


def test_others_wait_for_an_ordinary_sidecar_if_they_are_held() -> None:
    made = result(pod(), native=False, mesh=_mesh(hold_application_until_proxy_starts=True))
    assert names(made) == ["istio-proxy", "app"]
    command = proxy(made)["lifecycle"]["postStart"]["exec"]["command"]
    assert command == ["service", "wait", "--url=http://localhost:15020/healthz/ready"]


@pytest.mark.parametrize("native", [True, False])
def test_a_pod_may_choose_between_them(native: bool) -> None:
    wish = {"sidecar.istio.io/nativeSidecar": str(native).lower()}
    made = result(pod(annotations=wish), native=not native)
    assert ("istio-proxy" in names(made, "initContainers")) is native


def test_a_gateway_is_the_container_that_the_pod_declares() -> None:
    given_pod = pod({**AUTO, "ports": [{"containerPort": 8080}]}, annotations=GATEWAY)
    made = result(given_pod)
    assert names(made) == ["istio-proxy"]
    assert names(made, "initContainers") == []
    assert proxy(made)["image"] == "seine-agent"
    assert proxy(made)["args"][:2] == ["proxy", "router"]
    assert [port["containerPort"] for port in proxy(made)["ports"]] == [15090, 8080]
    (sysctl,) = made["spec"]["securityContext"]["sysctls"]
    assert sysctl == {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}


def test_nothing_is_intercepted_where_nothing_should_be() -> None:
    made = result(pod(annotations={"sidecar.istio.io/interceptionMode": "NONE"}))
    assert names(made, "initContainers") == ["istio-proxy"]
    assert variables(proxy(made))["ISTIO_META_INTERCEPTION_MODE"] == "NONE"


def test_with_a_plugin_that_lays_the_rules_a_container_only_looks() -> None:
    settings_ = Settings(config=injector(values='{"pilot": {"cni": {"enabled": true}}}'))
    made = result(pod(initContainers=[{"name": "setup"}]), native=False, settings=settings_)
    assert names(made, "initContainers") == ["istio-validation", "setup"]
    (first, _) = made["spec"]["initContainers"]
    assert first["args"][-2:] == ["--run-validation", "--skip-rule-apply"]
    assert "add" not in first["securityContext"]["capabilities"]


def test_a_plugin_finds_in_annotations_what_the_flags_would_say() -> None:
    proxy_values = {"includeIPRanges": "10.0.0.0/8", "excludeOutboundPorts": "6379"}
    values = {"pilot": {"cni": {"enabled": True}}, "global": {"proxy": proxy_values}}
    settings_ = Settings(
        config=injector(values=json.dumps(values)),
        mesh=_mesh(interception_mode=Interception.TPROXY, status_port=25020),
    )
    traffic = "traffic.sidecar.istio.io/"
    own = {traffic + "excludeInboundPorts": "22", traffic + "excludeOutboundPorts": "25"}
    made = result(pod(annotations=own), settings=settings_)
    found = made["metadata"]["annotations"]
    assert found["sidecar.istio.io/interceptionMode"] == "TPROXY"
    assert {key: found[key] for key in found if key.startswith(traffic)} == {
        traffic + "includeOutboundIPRanges": "10.0.0.0/8",
        traffic + "includeInboundPorts": "*",
        traffic + "excludeInboundPorts": "25020,22",
        traffic + "excludeOutboundPorts": "25",
    }
    assert result(made, settings=settings_) == made


def test_without_a_plugin_there_is_nothing_for_it() -> None:
    found = result(pod())["metadata"]["annotations"]
    assert not [key for key in found if key.startswith("traffic.") or "interceptionMode" in key]


# Injecting twice is injecting once.

ANNOTATIONS = st.fixed_dictionaries(
    {},
    optional={
        "sidecar.istio.io/nativeSidecar": st.sampled_from(["true", "false"]),
        "sidecar.istio.io/interceptionMode": st.sampled_from(["NONE", "TPROXY", "REDIRECT"]),
        "sidecar.istio.io/rewriteAppHTTPProbers": st.sampled_from(["true", "false"]),
        "sidecar.istio.io/proxyCPU": st.just("250m"),
        "sidecar.istio.io/userVolume": st.just('{"extra": {"emptyDir": {}}}'),
        "sidecar.istio.io/userVolumeMount": st.just('{"extra": {"mountPath": "/extra"}}'),
        "status.sidecar.istio.io/port": st.sampled_from(["0", "15020", "25020"]),
        "prometheus.io/scrape": st.sampled_from(["true", "false"]),
        "prometheus.io/port": st.sampled_from(["8080", "15020", "nonsense"]),
        "prometheus.io/path": st.sampled_from(["/m", "/stats/prometheus"]),
        "prometheus.istio.io/merge-metrics": st.just("false"),
        "proxy.istio.io/config": st.sampled_from(
            ["holdApplicationUntilProxyStarts: true", "concurrency: 4"]
        ),
        "inject.istio.io/templates": st.sampled_from(["gateway", "sidecar", "sidecar,extra"]),
        "kubectl.kubernetes.io/default-container": st.just("app"),
    },
)
PORTS = st.just([{"name": "http", "containerPort": 8080}])
PROBES = st.sampled_from(
    [
        {"httpGet": {"path": "/x", "port": "http", "scheme": "HTTPS"}, "timeoutSeconds": 3},
        {"httpGet": {"path": "/x", "port": 15020}},
        {"tcpSocket": {"port": 8080}, "periodSeconds": 4},
        {"grpc": {"port": 8080, "service": "s"}},
        {"exec": {"command": ["true"]}},
        {"httpGet": {"port": "nobody"}},
    ]
)
APPLICATION = st.fixed_dictionaries(
    {"name": st.sampled_from(["app", "other"])},
    optional={
        "ports": PORTS,
        "readinessProbe": PROBES,
        "livenessProbe": PROBES,
        "startupProbe": PROBES,
        "lifecycle": st.fixed_dictionaries(
            {"preStop": st.sampled_from([{"httpGet": {"port": 8080}}, {"exec": {}}])}
        ),
    },
)
DECLARED = st.sampled_from([[], [AUTO], [{**AUTO, "env": [{"name": "X", "value": "1"}]}]])
EXTRA = "templates: {extra: 'spec: {containers: [{name: logger}, {name: istio-proxy, tty: true}]}'}"


@given(ANNOTATIONS, st.lists(APPLICATION, max_size=2, unique_by=lambda it: it["name"]), DECLARED)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_injecting_twice_is_injecting_once(
    annotations: dict[str, str], containers: list[Any], declared: list[Any]
) -> None:
    given_pod = pod(annotations=annotations, initContainers=[{"name": "setup"}])
    given_pod["spec"]["containers"] = [*containers, *declared]
    kept = deepcopy(given_pod)
    users = Settings(config=injector(EXTRA))
    once = injected(given_pod, settings=users)
    assert given_pod == kept
    assert once.pod is not None
    twice = injected(once.pod, settings=users)
    assert twice.pod == once.pod


def test_what_changes_between_two_injections_counts() -> None:
    first = result(pod(), native=False)
    second = result(first, native=True, revision="canary")
    assert names(second) == ["app"]
    assert names(second, "initContainers") == ["istio-init", "istio-proxy"]
    assert json.loads(second["metadata"]["annotations"][STATUS])["revision"] == "canary"
    assert second["metadata"]["annotations"]["istio.io/rev"] == "canary"


def test_a_container_that_comes_in_between_is_treated_like_the_others() -> None:
    first = result(pod())
    probe = {"httpGet": {"path": "/", "port": 9}}
    first["spec"]["containers"].append({"name": "late", "readinessProbe": probe})
    second = result(first)
    assert names(second) == ["app", "late"]
    late = second["spec"]["containers"][1]
    assert late["readinessProbe"]["httpGet"]["path"] == "/app-health/late/readyz"


@pytest.mark.parametrize(
    "status",
    [
        "",
        "{",
        "[]",
        "5",
        '{"containers": 5}',
        '{"containers": ["app"]}',
        "[" * 10_000,
        "x" * 99_999,
    ],
)
def test_a_status_that_somebody_made_up_takes_nothing_away(status: str) -> None:
    made = result(pod(annotations={STATUS: status}))
    assert names(made) == ["app"]
    assert names(made, "initContainers") == ["istio-init", "istio-proxy"]


# What users lay over it.


def test_a_declared_container_is_laid_over_the_template() -> None:
    declared = {
        **AUTO,
        "env": [{"name": "EXTRA", "value": "1"}, {"name": "TRUST_DOMAIN", "value": "mine"}],
        "resources": {"requests": {"cpu": "1"}},
    }
    made = result(pod({"name": "app"}, declared), native=False)
    assert names(made) == ["app", "istio-proxy"]
    found = proxy(made)
    assert found["image"] == "seine-agent"
    assert variables(found)["EXTRA"] == "1"
    assert variables(found)["TRUST_DOMAIN"] == "mine"
    assert found["resources"]["requests"] == {"cpu": "1", "memory": "128Mi"}
    assert "proxy.istio.io/overrides" in made["metadata"]["annotations"]


def test_a_declared_image_is_kept() -> None:
    assert proxy(result(pod({**AUTO, "image": "mine:1"})))["image"] == "mine:1"


def test_users_templates_come_after_the_built_in_one() -> None:
    text = """
templates:
  custom: |
    metadata:
      annotations: {from: "{{ .ObjectMeta.Namespace }}-{{ .DeploymentMeta.Name }}"}
    spec:
      containers:
      - name: istio-proxy
        env:
        - {name: GREETING, value: "{{ .ProxyConfig.StatusPort }}{{ .Revision }}"}
"""
    made = result(
        pod(annotations={"inject.istio.io/templates": "sidecar,custom"}),
        native=False,
        settings=Settings(config=injector(text)),
    )
    assert variables(proxy(made))["GREETING"] == "default"
    assert made["metadata"]["annotations"]["from"] == "shop-web"


@pytest.mark.parametrize("name", ["nobody", "waypoint"])
def test_a_template_that_there_is_not_refuses_the_pod(name: str) -> None:
    done = injected(pod(annotations={"inject.istio.io/templates": name}))
    assert done.pod is None
    assert name in done.errors[0].text
    assert "sidecar" in done.errors[0].text


GRPC = {"inject.istio.io/templates": "grpc-agent"}
BOOTSTRAP = "/etc/istio/proxy/grpc-bootstrap.json"


def test_a_proxyless_pod_has_an_agent_and_its_programs_know_the_bootstrap() -> None:
    app = {
        "name": "app",
        "image": "web:1",
        "env": [{"name": "A", "value": "b"}],
        "readinessProbe": {"grpc": {"port": 9000}},
    }
    made = result(pod(app, annotations=GRPC))
    assert names(made, "initContainers") == ["istio-proxy"]
    agent = variables(proxy(made))
    assert (agent["DISABLE_ENVOY"], agent["ISTIO_META_GENERATOR"]) == ("true", "grpc")
    assert agent["GRPC_XDS_BOOTSTRAP"] == BOOTSTRAP
    assert proxy(made)["startupProbe"]["httpGet"]["port"] == 15020
    assert "lifecycle" not in proxy(made)
    (program,) = made["spec"]["containers"]
    assert variables(program)["GRPC_XDS_BOOTSTRAP"] == BOOTSTRAP
    assert variables(program)["A"] == "b"
    mounts = {one["mountPath"]: one["name"] for one in program["volumeMounts"]}
    assert mounts["/etc/istio/proxy"] == "istio-envoy"
    assert mounts[agent["OUTPUT_CERTS"]] == "istio-data"
    assert program["readinessProbe"] == {"grpc": {"port": 9000}}
    assert made["spec"]["securityContext"] == {"fsGroup": 1337}
    assert "security.istio.io/tlsMode" not in made["metadata"]["labels"]
    assert "prometheus.io/port" not in made["metadata"]["annotations"]
    keys = next(one for one in made["spec"]["volumes"] if one["name"] == "istio-data")
    assert keys["emptyDir"] == {"medium": "Memory"}


@pytest.mark.parametrize("native", [True, False])
def test_a_proxyless_pod_that_comes_again_is_the_same(native: bool) -> None:
    made = result(pod(annotations=GRPC), native=native)
    assert result(made, native=native) == made


def test_programs_wait_for_an_ordinary_agent() -> None:
    made = result(pod(annotations=GRPC), native=False)
    assert names(made) == ["istio-proxy", "app"]
    assert "initContainers" not in made["spec"]
    command = proxy(made)["lifecycle"]["postStart"]["exec"]["command"]
    assert command == ["service", "wait", "--url=http://localhost:15020/healthz/ready"]


def test_what_a_proxyless_pod_says_itself_stays() -> None:
    own = {"name": "app", "env": [{"name": "GRPC_XDS_BOOTSTRAP", "value": "/mine"}]}
    labels = {"security.istio.io/tlsMode": "istio"}
    security = {"fsGroup": 5, "runAsUser": 6}
    made = result(pod(own, annotations=GRPC, labels=labels, securityContext=security))
    (program,) = made["spec"]["containers"]
    assert variables(program)["GRPC_XDS_BOOTSTRAP"] == "/mine"
    assert made["metadata"]["labels"]["security.istio.io/tlsMode"] == "istio"
    assert made["spec"]["securityContext"] == security


def test_a_pod_has_a_proxy_or_has_none() -> None:
    both = {"inject.istio.io/templates": "sidecar,grpc-agent"}
    done = injected(pod(annotations=both))
    assert done.pod is None
    assert "proxyless" in done.errors[0].text


def test_aliases_stand_for_templates() -> None:
    users = Settings(config=injector("aliases: {both: [sidecar]}\ndefaultTemplates: [both]"))
    assert names(result(pod(), settings=users), "initContainers") == ["istio-init", "istio-proxy"]


# What the proxy is told.


def test_settings_come_from_the_mesh_its_proxy_configs_and_the_pod() -> None:
    def kind(namespace: str, **spec: Any) -> ProxyConfig:  # noqa: ANN401
        return ProxyConfig(Metadata("p", namespace), ProxyConfigSpec(**spec))

    users = Settings(
        mesh=_mesh(concurrency=1, proxy_metadata={"A": "mesh", "B": "mesh", "C": "mesh"}),
        proxy_configs=(
            kind("istio-system", environment_variables={"B": "root"}),
            kind("shop", concurrency=3, environment_variables={"C": "shop"}),
            kind("elsewhere", concurrency=9),
        ),
    )
    note = {"proxy.istio.io/config": "proxyMetadata: {D: pod}\nterminationDrainDuration: 9s"}
    made = result(pod(annotations=note), settings=users)
    found = variables(proxy(made))
    assert [found[name] for name in "ABCD"] == ["mesh", "root", "shop", "pod"]
    assert _config(made)["concurrency"] == 3
    assert _config(made)["terminationDrainDuration"] == "9s"
    assert _config(made)["discoveryAddress"] == "istiod.istio-system.svc:15012"
    init = made["spec"]["initContainers"][0]
    assert {"name": "A", "value": "mesh"} in init["env"]


def test_the_workload_and_its_identity() -> None:
    ports = [{"name": "http", "containerPort": 8080}, {"containerPort": 9090, "protocol": "UDP"}]
    made = result(pod({"name": "app", "ports": ports}, {"name": "two"}), revision="v2")
    found = variables(proxy(made))
    assert found["ISTIO_META_WORKLOAD_NAME"] == "web"
    assert found["ISTIO_META_OWNER"] == "kubernetes://apis/apps/v1/namespaces/shop/deployments/web"
    assert found["ISTIO_META_APP_CONTAINERS"] == "app,two"
    assert json.loads(found["ISTIO_META_POD_PORTS"]) == ports
    assert found["CA_ADDR"] == "istiod-v2.istio-system.svc:15012"
    assert found["INSTANCE_IP"] == "status.podIPs"
    assert found["SERVICE_ACCOUNT"] == "spec.serviceAccountName"
    assert found["TRUST_DOMAIN"] == "cluster.local"


def test_the_path_of_the_webhook_adds_variables() -> None:
    from libs.inject.pods import Asked, inject  # noqa: PLC0415
    from libs.inject.scene import Cluster, NamespaceFacts  # noqa: PLC0415

    asked = Asked(
        pod=pod(), namespace=NamespaceFacts(name="a"), variables={"ISTIO_META_CLUSTER_ID": "east"}
    )
    made = inject(asked, Cluster(), Settings()).pod
    assert made is not None
    assert variables(proxy(made))["ISTIO_META_CLUSTER_ID"] == "east"


def test_labels_say_what_telemetry_calls_it() -> None:
    labels = result(pod(labels={"app.kubernetes.io/name": "n", "version": "v3"}))["metadata"][
        "labels"
    ]
    assert labels["service.istio.io/canonical-name"] == "n"
    assert labels["service.istio.io/canonical-revision"] == "v3"
    assert labels["security.istio.io/tlsMode"] == "istio"
    kept = result(pod(labels={"security.istio.io/tlsMode": "disabled"}))["metadata"]["labels"]
    assert kept["security.istio.io/tlsMode"] == "disabled"


# What it may do.


def test_everything_but_the_rules_meets_the_restricted_standard() -> None:
    found = proxy(result(pod()))["securityContext"]
    assert found["runAsUser"] == found["runAsGroup"] == 1337
    assert found["runAsNonRoot"]
    assert found["readOnlyRootFilesystem"]
    assert found["allowPrivilegeEscalation"] is False
    assert found["capabilities"] == {"drop": ["ALL"]}
    assert found["seccompProfile"] == {"type": "RuntimeDefault"}
    init = result(pod())["spec"]["initContainers"][0]["securityContext"]
    assert init["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}
    assert init["allowPrivilegeEscalation"] is False


def test_transparent_proxies_and_low_ports_need_more() -> None:
    tproxy = proxy(result(pod(annotations={"sidecar.istio.io/interceptionMode": "TPROXY"})))
    assert tproxy["securityContext"]["capabilities"]["add"] == ["NET_ADMIN"]
    assert (tproxy["securityContext"]["runAsUser"], tproxy["securityContext"]["runAsGroup"]) == (
        0,
        1337,
    )
    low = proxy(result(pod(annotations={"sidecar.istio.io/capNetBindService": "true"})))
    assert low["securityContext"]["capabilities"]["add"] == ["NET_BIND_SERVICE"]


def test_one_resource_of_the_pod_replaces_all_defaults() -> None:
    made = result(pod(annotations={"sidecar.istio.io/proxyMemoryLimit": "2Gi"}))
    assert proxy(made)["resources"] == {"limits": {"memory": "2Gi"}}


def test_values_say_where_images_come_from() -> None:
    values = """{"global": {"hub": "h.example/x", "tag": "1.2", "variant": "debug",
      "imagePullPolicy": "Always", "imagePullSecrets": ["pull"],
      "proxy": {"image": "p", "tz": "Europe/Rome"}}}"""
    made = result(
        pod(imagePullSecrets=[{"name": "own"}]), settings=Settings(config=injector(values=values))
    )
    assert proxy(made)["image"] == "h.example/x/p:1.2-debug"
    assert proxy(made)["imagePullPolicy"] == "Always"
    assert variables(proxy(made))["TZ"] == "Europe/Rome"
    assert made["spec"]["imagePullSecrets"] == [{"name": "own"}, {"name": "pull"}]
    wish = {"sidecar.istio.io/proxyImage": "mine/agent@sha256:1"}
    assert proxy(result(pod(annotations=wish)))["image"] == "mine/agent@sha256:1"


def test_interception_is_what_the_pod_asks_for() -> None:
    traffic = "traffic.sidecar.istio.io/"
    wishes = {
        traffic + "includeOutboundIPRanges": "10.0.0.0/8, fd00::/8",
        traffic + "excludeOutboundIPRanges": "10.1.2.3/16",
        traffic + "includeInboundPorts": "80,81",
        traffic + "excludeInboundPorts": "22",
        traffic + "includeOutboundPorts": "9000",
        traffic + "excludeOutboundPorts": "6379, 5432",
        traffic + "excludeInterfaces": "eth1,net+",
        "istio.io/reroute-virtual-interfaces": "tap0",
        "status.sidecar.istio.io/port": "25020",
    }
    args = result(pod(annotations=wishes))["spec"]["initContainers"][0]["args"]
    flags = dict(zip(args[1::2], args[2::2], strict=True))
    assert args[0] == "init"
    assert flags["-i"] == "10.0.0.0/8,fd00::/8"
    assert flags["-x"] == "10.1.0.0/16"
    assert flags["-b"] == "80,81"
    assert flags["-d"] == "15090,15021,25020,22"
    assert flags["-q"] == "9000"
    assert flags["-o"] == "6379,5432"
    assert flags["-c"] == "eth1,net+"
    assert flags["-k"] == "tap0"
    assert (flags["-p"], flags["-z"]) == ("15001", "15006")


def test_rules_lead_to_where_the_proxies_of_the_mesh_listen() -> None:
    mesh = MeshConfig(proxy_listen_port=16001, proxy_inbound_listen_port=16006)
    args = result(pod(), mesh=mesh)["spec"]["initContainers"][0]["args"]
    assert args[1:5] == ["-p", "16001", "-z", "16006"]


def test_a_thousand_containers_and_none() -> None:
    many = [{"name": f"c{at}", "readinessProbe": {"tcpSocket": {"port": 1}}} for at in range(1000)]
    assert len(result(pod(*many))["spec"]["containers"]) == 1000
    empty = pod()
    empty["spec"]["containers"] = []
    assert names(result(empty, native=False)) == ["istio-proxy"]


_SERVES = {"name": "app", "image": "app:1", "ports": [{"containerPort": 8080}]}


def _pre_stop(found: dict[str, Any]) -> object:
    (app,) = (one for one in found["spec"]["containers"] if one["name"] == "app")
    return (app.get("lifecycle") or {}).get("preStop")


def test_an_application_is_told_to_end_when_its_proxy_has_drained() -> None:
    assert _pre_stop(result(pod(_SERVES))) == {"sleep": {"seconds": 5}}
    slower = _mesh(termination_drain_duration=8_500)
    assert _pre_stop(result(pod(_SERVES), mesh=slower)) == {"sleep": {"seconds": 9}}


def test_it_is_told_at_once_where_that_is_wanted_or_its_proxy_ends_too() -> None:
    values = '{"sidecarInjectorWebhook": {"stopAfterDrain": false}}'
    at_once = Settings(config=injector(values=values))
    assert _pre_stop(result(pod(_SERVES), settings=at_once)) is None
    assert _pre_stop(result(pod(_SERVES, annotations={words.STOP_AFTER_DRAIN: "false"}))) is None
    assert _pre_stop(result(pod(_SERVES), native=False)) is None
    forced = pod(_SERVES, annotations={"sidecar.istio.io/nativeSidecar": "true"})
    assert _pre_stop(result(forced, native=False)) is None


def test_flags_choose_nftables_where_values_do() -> None:
    values = '{"global": {"nativeNftables": true}}'
    made = result(pod(), settings=Settings(config=injector(values=values)))
    (init,) = (one for one in made["spec"]["initContainers"] if one["name"] == "istio-init")
    assert init["args"][-1] == "--native-nftables"


def test_a_template_that_was_refused_refuses_pods_that_ask_for_it_and_says_why() -> None:
    config_map = ConfigMap(Metadata("x"), {"config": "templates: {mine: '{{ range .X }}'}"})
    refused, _ = config.read(config_map)
    asked = pod(annotations={words.TEMPLATES: "sidecar,mine"})
    done = injected(asked, settings=Settings(config=refused))
    assert done.pod is None
    (error,) = done.errors
    assert "write the entries out" in error.text


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("field", ["containers", "initContainers"])
def test_a_users_template_changes_the_proxy_wherever_it_stands(native: bool, field: str) -> None:
    mine = f"templates: {{mine: 'spec: {{{field}: [{{name: istio-proxy, tty: true}}]}}'}}"
    asked = pod(annotations={words.TEMPLATES: "sidecar,mine"})
    made = result(asked, native=native, settings=Settings(config=injector(mine)))
    assert proxy(made)["tty"] is True
    assert proxy(made)["image"]
    assert ("istio-proxy" in names(made)) is not native
