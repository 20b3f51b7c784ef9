"""Networks: which network an endpoint is in, and where networks are entered.

An endpoint of the cluster is in the network that its pod's label names, else in that of the system
namespace's label, else in the one to which `meshNetworks` gives the cluster, else in the one to
which it gives the address. Of WorkloadEntries and endpoints of ServiceEntries only their own field
counts, as with Istio. Gateways of networks are those of `meshNetworks`, and Services that carry the
label, at the addresses under which they are reached from outside the cluster.
Which endpoints a proxy reaches through gateways is decided in `libs.proxy.networks`.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import cast

from libs.api import mesh_networks, reasons
from libs.api.kubernetes import ConfigMap, Namespace
from libs.api.mesh_networks import GatewayOfNetwork, MeshNetworks
from libs.api.path import Path, render
from libs.api.problem import Problem, Severity
from libs.api.report import Report
from libs.api.resolved_name import ResolvedName
from libs.model.ids import Ref, ref
from libs.model.mesh import Key, Table
from libs.model.networks import NetworkGateway, NetworkRange, Networks, ServiceRole
from libs.model.settings import MeshSettings
from libs.model.workload import Workload
from libs.translate.state import Derived
from libs.translate.view import View

LABEL = "topology.istio.io/network"

_EXTERNAL = "External"
_NETWORKS: Path = (mesh_networks.PLACE, "networks")


def derive(view: View, resource: ConfigMap) -> Derived:
    """Return what the mesh's ConfigMap says of networks; nothing for any other ConfigMap."""
    if resource.ref != _config_map(view):
        return Derived()
    report = Report(resource.ref)
    written = mesh_networks.read(resource, report)
    if not written.networks or any(it.severity is Severity.ERROR for it in report.problems):
        return Derived()
    cluster = view.settings.cluster_id
    own = [
        name
        for name, network in sorted(written.networks.items())
        if any(it.from_registry == cluster for it in network.endpoints)
    ]
    problems: list[Problem] = [*_of_others(written, cluster, resource.ref)]
    if len(own) > 1:
        text = f"more than one network takes the cluster {cluster!r}: {own[0][:100]!r} has it"
        problems.append(_warning(resource.ref, _NETWORKS, text))
    row = Networks(
        ref=resource.ref,
        gateways=tuple(sorted(_written(view, written, problems, resource.ref), key=in_order)),
        own=own[0] if own else "",
        ranges=tuple(_ranges(written)),
        services=tuple(_services(written, own)),
    )
    return Derived(rows=((Key(Table.NETWORKS, row.ref), row),), problems=tuple(problems))


def in_order(gateway: NetworkGateway) -> tuple[str, str, int]:
    """Return the key by which gateways are ordered."""
    return gateway.network, gateway.address, gateway.port


def of_endpoint(view: View, workload: Workload | None, address: str) -> str:
    """Return the network of an endpoint; `workload` is who is there, if that is known."""
    if workload is not None and workload.entry:
        return workload.network
    return of_pod(view, workload.labels if workload is not None else {}, address)


def of_pod(view: View, labels: Mapping[str, str], address: str) -> str:
    """Return the network of a pod; as long as it has no address, `address` is empty."""
    return labels.get(LABEL) or of_cluster(view) or _by_address(view, address)


def of_cluster(view: View) -> str:
    """Return the network that the system namespace's label names."""
    system = view.resource(Namespace, "", view.settings.root_namespace)
    return system.metadata.labels.get(LABEL, "") if system else ""


def written_of(view: View) -> Networks | None:
    """Return what `meshNetworks` says, or None if it says nothing."""
    return cast("Networks | None", view.row(Table.NETWORKS, _config_map(view)))


def addresses_of(view: View, name: str) -> tuple[tuple[str, ...], str]:
    """Return the IP addresses of a gateway that has a name or an address, and what is wrong."""
    try:
        return (str(ip_address(name)),), ""
    except ValueError:
        found = view.resource(ResolvedName, "", name.lower())
        return (found.addresses, found.fault) if found else ((), "")


def _config_map(view: View) -> Ref:
    settings: MeshSettings = view.default_settings
    return ref(ConfigMap.__name__, settings.root_namespace, settings.config_map)


def _by_address(view: View, address: str) -> str:
    written = written_of(view)
    if written is None:
        return ""
    if written.own or not written.ranges:
        return written.own
    try:
        found = ip_address(address)
    except ValueError:
        return ""
    return next(
        (it.network for it in written.ranges if found in ip_network(it.block, strict=False)), ""
    )


def _ranges(written: MeshNetworks) -> list[NetworkRange]:
    found = [
        NetworkRange(str(ip_network(it.from_cidr, strict=False)), name)
        for name, network in sorted(written.networks.items())
        for it in network.endpoints
        if it.from_cidr
    ]
    return sorted(found, key=lambda it: ip_network(it.block).prefixlen)


def _services(written: MeshNetworks, own: list[str]) -> Iterator[ServiceRole]:
    """Yield the Services that are gateways; a network that is not the cluster's has none here."""
    for name in own:
        for gateway in written.networks[name].gateways:
            if gateway.registry_service_name:
                yield ServiceRole(gateway.registry_service_name.lower(), name, gateway.port)


def _written(  # noqa: PLR0917 - and where to say what is wrong
    view: View, written: MeshNetworks, problems: list[Problem], about: Ref
) -> Iterator[NetworkGateway]:
    for name, network in written.networks.items():
        place = (_NETWORKS, name)
        for index, gateway in enumerate(network.gateways):
            if gateway.address:
                addresses, fault = addresses_of(view, gateway.address)
                if fault:
                    path = (((place, "gateways"), index), "address")
                    problems.append(_warning(about, path, f"{fault}: nobody goes there"))
                yield _gateway(gateway, name, addresses)


def _gateway(written: GatewayOfNetwork, name: str, addresses: tuple[str, ...]) -> NetworkGateway:
    return NetworkGateway(
        network=name, address=written.address, port=written.port, addresses=addresses
    )


def _of_others(written: MeshNetworks, cluster: str, about: Ref) -> Iterator[Problem]:
    """Yield what is said of other clusters, of which nothing is read here."""
    for name, network in written.networks.items():
        place = (_NETWORKS, name)
        others = [it.from_registry for it in network.endpoints if it.from_registry]
        for index, it in enumerate(network.endpoints):
            if it.from_registry and it.from_registry not in {cluster, _EXTERNAL}:
                path = (((place, "endpoints"), index), "fromRegistry")
                text = f"only the cluster {cluster!r} is read: no endpoints of others are known"
                yield Problem(
                    about, render(path), reasons.UNSUPPORTED_FIELD, text, Severity.WARNING
                )
        for index, gateway in enumerate(network.gateways):
            if gateway.registry_service_name and cluster not in others:
                path = (((place, "gateways"), index), "registryServiceName")
                text = f"is a Service of the cluster {cluster!r}, of which the network does not say"
                yield _warning(about, path, f"{text} that it is its own (fromRegistry)")


def _warning(about: Ref, path: Path, text: str) -> Problem:
    return Problem(about, render(path), reasons.NO_EFFECT, text, Severity.WARNING)
