"""MeshNetworks: which networks there are, a YAML text in the ConfigMap `istio`, key `meshNetworks`.

It says what belongs to a network and where that is entered. What comes of it, together with labels
of namespaces, pods and Services, is decided in `libs.translate.networks`.
"""

from ipaddress import ip_network

from libs.api import documents, reasons
from libs.api.kubernetes import ConfigMap
from libs.api.path import Path
from libs.api.readers import reader_of
from libs.api.report import Report
from libs.api.resource import Message
from libs.api.scalars import UInt32
from libs.api.validate.hosts import is_address, is_label, wrong_name
from libs.api.validate.ports import check_port

KEY = "meshNetworks"
"""The key of the ConfigMap's data that holds the text."""

PLACE: Path = ((None, "data"), KEY)


class NetworkEndpoints(Message, frozen=True):
    """What belongs to a network: a block of addresses, or all that a cluster knows."""

    from_cidr: str = ""
    from_registry: str = ""


class GatewayOfNetwork(Message, frozen=True):
    """Where a network is entered: at an address, or where a Service of its cluster is."""

    registry_service_name: str = ""
    address: str = ""
    port: UInt32 = 0
    locality: str = ""


class Network(Message, frozen=True):
    """One network."""

    endpoints: tuple[NetworkEndpoints, ...] = ()
    gateways: tuple[GatewayOfNetwork, ...] = ()


class MeshNetworks(Message, frozen=True):
    """All networks, by name."""

    networks: dict[str, Network] = {}


def read(resource: ConfigMap, report: Report) -> MeshNetworks:
    """Return what the ConfigMap says of networks: nothing if it is wrong, which is reported."""
    found = documents.read(resource.data.get(KEY, ""), "")
    if not found:
        return MeshNetworks()
    raw = found[0].raw
    if raw is None:
        for problem in found[0].problems:
            text = f"line {problem.line} of the text: {problem.text}"
            report.error(PLACE, problem.reason, text)
        return MeshNetworks()
    networks = reader_of(MeshNetworks)(raw, PLACE, report)
    if not isinstance(networks, MeshNetworks):
        return MeshNetworks()
    for name, network in networks.networks.items():
        _check(network, ((PLACE, "networks"), name), report)
    return networks


def _check(network: Network, path: Path, report: Report) -> None:
    for index, endpoints in enumerate(network.endpoints):
        _check_endpoints(endpoints, ((path, "endpoints"), index), report)
    for index, gateway in enumerate(network.gateways):
        _check_gateway(gateway, ((path, "gateways"), index), report)


def _check_endpoints(endpoints: NetworkEndpoints, path: Path, report: Report) -> None:
    block, registry = endpoints.from_cidr, endpoints.from_registry
    _check_one((block, registry), "fromCidr or fromRegistry", path, report=report)
    if block and not is_block(block):
        text = f"{block[:100]!r} is not a block of addresses such as 10.1.0.0/16"
        report.error((path, "fromCidr"), reasons.INVALID_ADDRESS, text)
    if registry and not is_label(registry.lower()):
        text = f"{registry[:100]!r} is not the name of a cluster: a DNS label"
        report.error((path, "fromRegistry"), reasons.INVALID_NAME, text)


def _check_gateway(gateway: GatewayOfNetwork, path: Path, report: Report) -> None:
    name, address = gateway.registry_service_name, gateway.address
    _check_one((name, address), "registryServiceName or address", path, report=report)
    if name and (wrong := wrong_name(name)):
        report.error((path, "registryServiceName"), reasons.INVALID_HOST, wrong)
    if address and not is_address(address) and (wrong := wrong_name(address)):
        report.error((path, "address"), reasons.INVALID_ADDRESS, wrong)
    check_port(gateway.port, (path, "port"), report)
    if gateway.locality:
        text = "nothing reads it, as with Istio: gateways stand where the endpoints are"
        report.warning((path, "locality"), reasons.NO_EFFECT, text)


def _check_one(values: tuple[str, str], names: str, path: Path, *, report: Report) -> None:
    if all(values):
        report.error(path, reasons.CONFLICTING_FIELDS, f"needs either {names}, not both")
    elif not any(values):
        report.error(path, reasons.MISSING_FIELD, f"needs {names}")


def is_block(text: str) -> bool:
    """Tell whether `text` is a block of addresses in CIDR form; host bits may be set."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text
