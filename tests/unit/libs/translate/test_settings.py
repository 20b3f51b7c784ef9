from libs.model.settings import MeshSettings
from libs.model.telemetry import AccessLog
from libs.model.traffic import Keepalive, LocalityBalancing, Retries
from libs.translate.apply import Remove, apply, initial
from tests.support.resources import mesh_of, resources, translated, upserted


def config(text: str, namespace: str = "istio-system") -> str:
    return f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: {namespace}}}
data:
  mesh: |
    {text.replace(chr(10), chr(10) + "    ")}
"""


# proves: ConfigMap data
def test_the_config_map_is_laid_over_the_defaults() -> None:
    settings = mesh_of(
        config("""trustDomain: example.org
trustDomainAliases: [old.org]
outboundTrafficPolicy: {mode: REGISTRY_ONLY}
inboundTrafficPolicy: {mode: LOCALHOST}
enableAutoMtls: false
connectTimeout: 2s
tcpKeepalive: {time: 10s}
localityLbSetting: {enabled: false}
defaultHttpRetryPolicy: {attempts: 4}
defaultServiceExportTo: ["."]
accessLogFile: /dev/stdout
accessLogEncoding: JSON
pathNormalization: {normalization: MERGE_SLASHES}
h2UpgradePolicy: UPGRADE
enablePrometheusMerge: false
defaultConfig: {meshId: m, holdApplicationUntilProxyStarts: true}
""")
    ).settings
    assert settings == MeshSettings(
        ref=settings.ref,
        trust_domain="example.org",
        trust_domain_aliases=("old.org",),
        allow_any_outbound=False,
        passthrough_inbound=False,
        auto_mtls=False,
        connect_timeout=2000,
        tcp_keepalive=Keepalive(None, 10_000),
        locality=LocalityBalancing(enabled=False),
        default_retries=Retries(attempts=4),
        service_export_to=(".",),
        access_log=AccessLog("/dev/stdout", json=True),
        path_normalization="MERGE_SLASHES",
        h2_upgrade=True,
        prometheus_merge=False,
        mesh_id="m",
    )
    assert settings.ref == "ConfigMap/istio-system/istio"


def test_settings_are_there_from_the_start_and_come_back() -> None:
    base = MeshSettings(trust_domain="cluster.example", cluster_domain="cluster.example")
    state = initial(base)
    assert state.mesh.settings is base
    step = upserted(resources(config("trustDomain: other")), state)
    assert step.state.mesh.settings.trust_domain == "other"
    assert step.state.mesh.settings.cluster_domain == "cluster.example"
    step = apply(step.state, [Remove(step.state.mesh.settings.ref)])
    assert step.state.mesh.settings == base


def test_a_config_map_elsewhere_says_nothing() -> None:
    assert mesh_of(config("trustDomain: other", namespace="shop")).settings == MeshSettings()


def test_a_config_map_that_cannot_be_read_changes_nothing() -> None:
    assert mesh_of(config("trustDomain: [other]")).settings == MeshSettings()


def test_a_field_that_nobody_knows_costs_no_other() -> None:
    found = mesh_of(config("accessLogFiel: /dev/stdout\ntrustDomain: other")).settings
    assert found.trust_domain == "other"


def test_an_account_of_a_service_follows_the_trust_domain() -> None:
    service = """
apiVersion: v1
kind: Service
metadata: {name: a, namespace: shop, annotations: {alpha.istio.io/kubernetes-serviceaccounts: b}}
spec: {ports: [{port: 80}]}
"""
    before = translated(service).state
    step = translated(config("trustDomain: other"), before)
    (found,) = step.state.mesh.services.values()
    assert found.subject_alt_names == ("spiffe://other/ns/shop/sa/b",)
    assert step.delta.causes == ("ConfigMap/istio-system/istio",)
