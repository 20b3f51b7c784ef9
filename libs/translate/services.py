"""Services: one row for each Kubernetes Service, under its full host name.

Others find a service by its ServiceKey or its host. Its endpoints are a row of their own; what a
port speaks is decided in `protocols`; who may see the service is decided in `libs.proxy`.
"""

from libs.api.kubernetes import HEADLESS, ServiceType, TrafficScope, Transport
from libs.api.kubernetes import Service as KubernetesService
from libs.api.kubernetes import ServicePort as KubernetesPort
from libs.model.hosts import expand
from libs.model.ids import SpiffeId, service_key
from libs.model.mesh import Key, Table
from libs.model.service import Resolution, Service, ServicePort
from libs.model.settings import MeshSettings
from libs.translate import protocols
from libs.translate.state import Derived
from libs.translate.view import View

EXPORT_TO = "networking.istio.io/exportTo"
TRAFFIC_DISTRIBUTION = "networking.istio.io/traffic-distribution"
KUBERNETES_ACCOUNTS = "alpha.istio.io/kubernetes-serviceaccounts"
CANONICAL_ACCOUNTS = "alpha.istio.io/canonical-serviceaccounts"


def derive(view: View, service: KubernetesService) -> Derived:
    """Return the row of a service."""
    row = _row(service, view.settings)
    return Derived(rows=((Key(Table.SERVICE, row.key), row),))


def host_of(service: KubernetesService, settings: MeshSettings) -> str:
    """Return the full host name of a Kubernetes Service."""
    metadata = service.metadata
    return expand(metadata.name, metadata.namespace, settings.cluster_domain)


def _row(service: KubernetesService, settings: MeshSettings) -> Service:
    metadata, spec = service.metadata, service.spec
    host = host_of(service, settings)
    return Service(
        key=service_key(metadata.namespace, host),
        ref=service.ref,
        host=host,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        ports=tuple(_port(port) for port in spec.ports if port.protocol is Transport.TCP),
        addresses=_addresses(service),
        resolution=_resolution(service),
        alias_of=_alias_of(service),
        selector=spec.selector,
        labels=metadata.labels,
        export_to=_list(metadata.annotations.get(EXPORT_TO, "")),
        subject_alt_names=_accounts(service, settings),
        node_local=spec.internal_traffic_policy is TrafficScope.LOCAL,
        traffic_distribution=spec.traffic_distribution
        or metadata.annotations.get(TRAFFIC_DISTRIBUTION, ""),
        publish_not_ready=spec.publish_not_ready_addresses,
    )


def _port(port: KubernetesPort) -> ServicePort:
    return ServicePort(port.port, port.name, protocols.of_port(port), port.target_port)


def _addresses(service: KubernetesService) -> tuple[str, ...]:
    """The virtual addresses; a file may leave them out, an API server never does."""
    if _resolution(service) is not Resolution.ENDPOINTS:
        return ()
    spec = service.spec
    return spec.cluster_ips or ((spec.cluster_ip,) if spec.cluster_ip else ())


def _resolution(service: KubernetesService) -> Resolution:
    if service.spec.type is ServiceType.EXTERNAL_NAME:
        return Resolution.ALIAS
    headless = service.spec.cluster_ip == HEADLESS
    return Resolution.ORIGINAL if headless else Resolution.ENDPOINTS


def _alias_of(service: KubernetesService) -> str:
    if service.spec.type is not ServiceType.EXTERNAL_NAME:
        return ""
    return service.spec.external_name.lower().rstrip(".")


def _accounts(service: KubernetesService, settings: MeshSettings) -> tuple[str, ...]:
    """Further names that the servers may prove, besides those of their pods' accounts."""
    annotations, namespace = service.metadata.annotations, service.metadata.namespace
    canonical = _list(annotations.get(CANONICAL_ACCOUNTS, ""))
    local = _list(annotations.get(KUBERNETES_ACCOUNTS, ""))
    ids = (str(SpiffeId(settings.trust_domain, namespace, account)) for account in local)
    return tuple(sorted({*canonical, *ids}))


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
