"""Addresses: where the agent finds others and is found, derived from its settings.

A server is reached by an address and believed by a name. In a cluster both are the same DNS name;
on one machine addresses are numbers, and the names are those of the system's own service accounts.
"""

from ipaddress import ip_address
from pathlib import Path

from libs.model.ids import SpiffeId
from services.agent.issued import Order
from services.agent.provisioned import Provisioned
from services.agent.proxy_config import seconds
from services.agent.settings import AgentSettings
from services.agent.streams.client import Target

DISCOVERY_NAME = "istiod.istio-system.svc"
CA_NAME = "seine-ca.istio-system.svc"
MTLS_PORT = 15013
_ANY = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # recognised, not bound


def discovery(settings: AgentSettings) -> Target:
    """Return where xDS comes from."""
    address = settings.proxy.discovery_address
    name = settings.istiod_san or _name_of(address, DISCOVERY_NAME)
    return Target(address, name, settings.ca_root_file, provisioned(settings))


def order(settings: AgentSettings) -> Order:
    """Return what to ask the CA, and which one."""
    address = settings.ca_addr or settings.proxy.discovery_address
    return Order(
        ca_address=address,
        server_name=settings.ca_server_name or _name_of(address, CA_NAME),
        root_file=settings.ca_root_file,
        token_file=settings.token_file,
        lifetime=round(seconds(settings.secret_ttl)),
        identity=str(identity(settings)),
        provisioned=provisioned(settings),
    )


def provisioned(settings: AgentSettings) -> Provisioned | None:
    """Return which certificate is shown instead of a token, and where; None if none ever is.

    The port takes streams, and requests for certificates that it passes on to the CA.
    """
    if not settings.prov_cert:
        return None
    address = settings.proxy.discovery_address
    folder = Path(settings.prov_cert)
    return Provisioned(
        address=settings.mtls_address or f"{address.rpartition(':')[0]}:{MTLS_PORT}",
        server_name=settings.istiod_san or _name_of(address, DISCOVERY_NAME),
        chain=str(folder / "cert-chain.pem"),
        key=str(folder / "key.pem"),
        token_file=settings.token_file,
    )


def identity(settings: AgentSettings) -> SpiffeId:
    """Return whom the pod's token should prove it to be."""
    return SpiffeId(settings.trust_domain, settings.pod_namespace, settings.service_account)


def listening(settings: AgentSettings) -> str:
    """Return the address of the ports that kubelet and scrapers ask, at the pod's main address."""
    if settings.listen_address:
        return settings.listen_address
    main = settings.instance_ip.split(",")[0]
    return "::" if ":" in main else "0.0.0.0"  # noqa: S104  # they come from outside the pod


def status(settings: AgentSettings) -> str:
    """Return the address at which Envoy reaches the agent's status port."""
    return _reachable(listening(settings))


def application(settings: AgentSettings) -> str:
    """Return the address of the application's metrics: what the pod calls localhost."""
    return settings.metadata.get("SEINE_APPLICATION_ADDRESS") or "127.0.0.1"


def probed(settings: AgentSettings) -> str:
    """Return the address at which kubelet would probe the application: the pod's own."""
    given = settings.metadata.get("SEINE_APPLICATION_ADDRESS")
    return given or settings.instance_ip.split(",")[0]


def _reachable(listening: str) -> str:
    if listening in _ANY:
        return "::1" if listening == "::" else "127.0.0.1"
    return listening


def _name_of(address: str, otherwise: str) -> str:
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return otherwise
    try:
        ip_address(host)
    except ValueError:
        return host
    return otherwise
