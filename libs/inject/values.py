"""Values: what the ConfigMap `istio-sidecar-injector` says of proxies, as far as it is read.

The fields are Istio's, by its names and in its places; others are ignored. Empty texts stand for
"not said"; what is used then is decided where it is used.
"""

from msgspec import field

from libs.api.resource import Part
from libs.api.scalars import JsonObject

_EMPTY = JsonObject({})


class StartupProbe(Part, frozen=True):
    """Whether the proxy has a startup probe, of one second each."""

    enabled: bool = True
    failure_threshold: int = 600


class Proxy(Part, frozen=True):
    """The container `istio-proxy`."""

    image: str = ""
    cluster_domain: str = ""
    log_level: str = ""
    component_log_level: str = ""
    privileged: bool = False
    tz: str = ""
    include_ip_ranges: str = field(default="*", name="includeIPRanges")
    exclude_ip_ranges: str = field(default="", name="excludeIPRanges")
    include_inbound_ports: str = "*"
    exclude_inbound_ports: str = ""
    include_outbound_ports: str = ""
    exclude_outbound_ports: str = ""
    exclude_interfaces: str = ""
    readiness_initial_delay_seconds: int = 0
    readiness_period_seconds: int = 15
    readiness_failure_threshold: int = 4
    startup_probe: StartupProbe = StartupProbe()
    resources: JsonObject = _EMPTY
    lifecycle: JsonObject = _EMPTY
    seccomp_profile: JsonObject = _EMPTY


class ProxyInit(Part, frozen=True):
    """The container `istio-init`."""

    image: str = ""
    resources: JsonObject = _EMPTY


class Logging(Part, frozen=True):
    """What the agent logs."""

    level: str = ""


class MultiCluster(Part, frozen=True):
    """The place of the cluster in the mesh."""

    cluster_name: str = ""


class Global(Part, frozen=True):
    """What concerns every template."""

    hub: str = ""
    tag: str = ""
    variant: str = ""
    image_pull_policy: str = ""
    image_pull_secrets: tuple[str, ...] = ()
    ca_address: str = ""
    mesh_id: str = field(default="", name="meshID")
    network: str = ""
    logging: Logging = Logging()
    multi_cluster: MultiCluster = MultiCluster()
    native_nftables: bool = False
    proxy: Proxy = Proxy()
    proxy_init: ProxyInit = field(default=ProxyInit(), name="proxy_init")


class SidecarInjectorWebhook(Part, frozen=True):
    """How the injector behaves."""

    rewrite_app_http_probe: bool = field(default=True, name="rewriteAppHTTPProbe")
    stop_after_drain: bool = True
    """Our own: whether applications sleep before they are told to end."""


class Cni(Part, frozen=True):
    """Whether something else lays the interception rules."""

    enabled: bool = False


class Pilot(Part, frozen=True):
    """The control plane."""

    cni: Cni = Cni()


class Values(Part, frozen=True):
    """All of it."""

    global_: Global = field(default=Global(), name="global")
    sidecar_injector_webhook: SidecarInjectorWebhook = SidecarInjectorWebhook()
    pilot: Pilot = Pilot()
