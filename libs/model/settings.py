"""Settings of the whole mesh, as MeshConfig gives them."""

from msgspec import Struct

from libs.model.ids import Ref
from libs.model.providers import Provider
from libs.model.proxy_settings import ProxySettings
from libs.model.telemetry import AccessLog, DefaultProviders
from libs.model.traffic import ClientTls, Keepalive, LocalityBalancing, Retries, TrafficPolicy


class Selector(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Labels, and conditions on labels (key, operator, values), all of which have to be met."""

    labels: dict[str, str] = {}
    expressions: tuple[tuple[str, str, tuple[str, ...]], ...] = ()


class EntryVisibility(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Who sees ServiceEntries at most: `*` everybody, `.` their own namespace, `~` nobody.

    The first policy counts whose selectors all cover the namespace; None covers none.
    """

    default: str = "*"
    policies: tuple[tuple[str, tuple[Selector | None, ...]], ...] = ()


class MeshSettings(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One per mesh; durations are milliseconds. Defaults are Istio's."""

    ref: Ref = Ref("")
    trust_domain: str = "cluster.local"
    trust_domain_aliases: tuple[str, ...] = ()
    other_trust_domains: tuple[str, ...] = ()  # of other meshes, which may call workloads
    cluster_domain: str = "cluster.local"
    cluster_id: str = "Kubernetes"
    mesh_id: str = "cluster.local"
    root_namespace: str = "istio-system"
    config_map: str = "istio"  # in the root namespace: what the mesh's users have set is there
    allow_any_outbound: bool = True
    # Requests to hosts that nobody declared go where DNS says, and over this TLS.
    dynamic_dns: bool = False
    dynamic_dns_tls: ClientTls | None = None
    outbound_port: int = 15001  # where what the application sends arrives at its proxy
    inbound_port: int = 15006
    http_proxy_port: int = 0  # where the application may ask its proxy as one; 0: nowhere
    passthrough_inbound: bool = True
    auto_mtls: bool = True
    connect_timeout: int = 10_000
    tcp_keepalive: Keepalive | None = None
    protocol_detection_timeout: int = 0
    dns_refresh_rate: int = 60_000
    locality: LocalityBalancing | None = LocalityBalancing()  # None: places do not matter
    default_policy: TrafficPolicy | None = None  # for hosts whose own policy leaves something open
    default_retries: Retries | None = None
    service_export_to: tuple[str, ...] = ("*",)
    routing_export_to: tuple[str, ...] = ("*",)
    host_policy_export_to: tuple[str, ...] = ("*",)
    entry_visibility: EntryVisibility | None = None
    strict_hosts: bool = False  # what is said of others' hosts holds at home only
    access_log: AccessLog = AccessLog()
    log_service: bool = False  # what is logged is also sent to the bootstrap's log service
    log_listeners: bool = True  # connections that no filter chain takes
    mesh_tls_minimum: str = "TLSV1_2"  # of servers' mutual TLS
    mesh_tls_ciphers: tuple[str, ...] = ()
    tls_curves: tuple[str, ...] = ()  # of all other TLS, where nothing nearer says so
    tls_ciphers: tuple[str, ...] = ()
    tls_minimum: str = "TLSV1_2"  # of gateways' servers and the like, where they say nothing
    inbound_retries: Retries | None = None
    outbound_stat_name: str = ""  # with %SERVICE% and the like; empty: the cluster's name
    inbound_stat_name: str = ""
    prometheus_merge: bool = True
    path_normalization: str = "BASE"
    h2_upgrade: bool = False
    tracing: bool = True  # without a provider: spans go where the proxy's own settings say
    providers: tuple[Provider, ...] = ()
    default_providers: DefaultProviders = DefaultProviders()
    proxy: ProxySettings = ProxySettings()  # of proxies that say nothing of their own
    ingress: str = "STRICT"  # which Ingresses count: STRICT, DEFAULT or OFF
    ingress_class: str = "istio"
    ingress_selector: str = "ingressgateway"
    ingress_namespace: str = ""  # where ingress pods and their Service are; empty: the root one
    ingress_service: str = "istio-ingressgateway"  # whose addresses Ingresses have; may be empty

    @property
    def ingress_home(self) -> str:
        """Namespace of the ingress pods, their Service, and the gateways of Ingresses."""
        return self.ingress_namespace or self.root_namespace

    @property
    def own_ports(self) -> frozenset[int]:
        """Ports on which proxies themselves listen."""
        return frozenset({self.outbound_port, self.inbound_port, 15021, 15090})
