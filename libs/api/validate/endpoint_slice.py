"""Rules of an EndpointSlice, as far as an API server would have checked what the mesh relies on."""

import ipaddress

from libs.api import reasons
from libs.api.kubernetes import AddressType, EndpointSlice
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import wrong_name
from libs.api.validate.ports import check_port

SERVICE_LABEL = "kubernetes.io/service-name"


def check(resource: EndpointSlice, report: Report) -> None:
    """Report what is wrong with an EndpointSlice."""
    if SERVICE_LABEL not in resource.metadata.labels:
        text = f"without the label {SERVICE_LABEL} it belongs to no Service"
        report.warning("metadata.labels", reasons.NO_EFFECT, text)
    names: set[str] = set()
    for index, port in enumerate(resource.ports):
        place: Path = ((None, "ports"), index)
        if port.port is not None:
            check_port(port.port, (place, "port"), report)
        if port.name in names:
            text = f"the name {port.name[:100]!r} is there twice"
            report.error((place, "name"), reasons.DUPLICATE_PORT, text)
        names.add(port.name)
    for index, endpoint in enumerate(resource.endpoints):
        _check_addresses(
            endpoint.addresses, resource.address_type, ((None, "endpoints"), index), report=report
        )


def _check_addresses(
    addresses: tuple[str, ...], of: AddressType, path: Path, *, report: Report
) -> None:
    path = (path, "addresses")
    if not addresses:
        report.error(path, reasons.MISSING_FIELD, "needs one address at least")
    for index, address in enumerate(addresses):
        if not _is_of(of, address):
            text = f"{address[:100]!r} is not of addressType {of}"
            report.error((path, index), reasons.INVALID_ADDRESS, text)


def _is_of(of: AddressType, address: str) -> bool:
    if of is AddressType.FQDN:
        return not wrong_name(address)
    try:
        return ipaddress.ip_address(address).version == (4 if of is AddressType.IPV4 else 6)
    except ValueError:
        return False
