"""The parts of MeshConfig that are messages of their own. None is absent."""

from enum import StrEnum

from libs.api.networking.destination_rule import ClientTls, ConnectionPool, OutlierDetection
from libs.api.resource import Message
from libs.api.scalars import Duration


class IngressMode(StrEnum):
    """Which Ingresses are the mesh's: none, those of its class, or those of no class too."""

    UNSPECIFIED = "UNSPECIFIED"
    OFF = "OFF"
    DEFAULT = "DEFAULT"
    STRICT = "STRICT"


class ConfigSource(Message, frozen=True):
    """Where configuration comes from besides the API server."""

    address: str = ""
    tls_settings: ClientTls | None = None
    subscribed_resources: tuple[str, ...] = ()


class CertificateData(Message, frozen=True):
    """Roots that are trusted besides the mesh's own; at most one of the first two is set."""

    pem: str | None = None
    spiffe_bundle_url: str | None = None
    cert_signers: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()


class Certificate(Message, frozen=True):
    """A certificate that the control plane once issued into a Secret."""

    secret_name: str = ""
    dns_names: tuple[str, ...] = ()


class ServiceFlags(Message, frozen=True):
    """What is set of some hosts."""

    cluster_local: bool = False


class ServiceSettings(Message, frozen=True):
    """Settings of the services of some hosts."""

    settings: ServiceFlags | None = None
    hosts: tuple[str, ...] = ()


class Requirement(Message, frozen=True):
    """A condition on one label: In, NotIn, Exists or DoesNotExist."""

    key: str = ""
    operator: str = ""
    values: tuple[str, ...] = ()


class LabelSelector(Message, frozen=True):
    """The objects whose labels meet all conditions; one without conditions selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()


class Scope(StrEnum):
    """Whether a service is seen by other clusters."""

    LOCAL = "LOCAL"
    GLOBAL = "GLOBAL"


class ServiceScopeConfig(Message, frozen=True):
    """The scope of some services."""

    namespace_selector: LabelSelector | None = None
    services_selector: LabelSelector | None = None
    scope: Scope = Scope.LOCAL


class Authority(Message, frozen=True):
    """The certificate authority of the mesh, if it is not the built-in one."""

    address: str = ""
    tls_settings: ClientTls | None = None
    request_timeout: Duration | None = None
    istiod_side: bool = False


class DefaultProviders(Message, frozen=True):
    """Extension providers that are used where no Telemetry names one."""

    tracing: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    access_logging: tuple[str, ...] | None = None


class MeshTlsVersion(StrEnum):
    """A version of TLS; TLS_AUTO leaves it to the mesh."""

    TLS_AUTO = "TLS_AUTO"
    TLSV1_2 = "TLSV1_2"
    TLSV1_3 = "TLSV1_3"


class MeshTls(Message, frozen=True):
    """TLS of the mesh, or of all else."""

    min_protocol_version: MeshTlsVersion = MeshTlsVersion.TLS_AUTO
    ecdh_curves: tuple[str, ...] = ()
    cipher_suites: tuple[str, ...] = ()


class DefaultTrafficPolicy(Message, frozen=True):
    """What a DestinationRule that says nothing leaves to the mesh."""

    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None


class Visibility(StrEnum):
    """Who sees the ServiceEntries of a namespace at most."""

    VISIBILITY_UNSPECIFIED = "VISIBILITY_UNSPECIFIED"
    NONE = "NONE"
    NAMESPACE = "NAMESPACE"
    PUBLIC = "PUBLIC"


class VisibilityRule(Message, frozen=True):
    """The namespaces that a policy is for."""

    namespace_selector: LabelSelector | None = None


class VisibilityPolicy(Message, frozen=True):
    """How far the ServiceEntries of some namespaces may be seen."""

    visibility: Visibility = Visibility.VISIBILITY_UNSPECIFIED
    matching_rules: tuple[VisibilityRule, ...] = ()


class ServiceEntryVisibility(Message, frozen=True):
    """How far ServiceEntries may be seen."""

    default_visibility: Visibility = Visibility.VISIBILITY_UNSPECIFIED
    apply_to_sidecars: bool = False
    policies: tuple[VisibilityPolicy, ...] = ()
