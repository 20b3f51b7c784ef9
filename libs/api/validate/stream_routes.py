"""Rules about the routes of connections (TCP and passed-through TLS) in a VirtualService."""

import ipaddress
from collections.abc import Sequence

from libs.api import reasons
from libs.api.networking.virtual_service import TcpMatch, TcpRoute, TlsMatch, TlsRoute
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.destinations import check_routes
from libs.api.validate.gateways import check_gateways
from libs.api.validate.hosts import Cover, is_address, wrong_pattern
from libs.api.validate.labels import check_labels
from libs.api.validate.ports import check_match_port

GENERATED_SNI = "outbound_"
"""What the SNI of mesh traffic through an AUTO_PASSTHROUGH gateway begins with."""


def check_tls_route(
    route: TlsRoute, path: Path, report: Report, *, hosts: Cover, generated: bool
) -> None:
    """Report what is wrong with one route of TLS connections.

    `generated` allows the SNI that the mesh makes up for its own traffic.
    """
    if not route.match:
        report.error((path, "match"), reasons.MISSING_FIELD, "needs one match at least")
    for index, match in enumerate(route.match):
        place = ((path, "match"), index)
        if not match.sni_hosts:
            report.error((place, "sniHosts"), reasons.MISSING_FIELD, "needs one host at least")
        for at, sni in enumerate(match.sni_hosts):
            where = ((place, "sniHosts"), at)
            _check_sni(sni, where, report, hosts=hosts, generated=generated)
        _check_connection(match, place, report)
    _check_destinations(route, path, report)


def check_tcp_route(route: TcpRoute, path: Path, report: Report) -> None:
    """Report what is wrong with one route of TCP connections."""
    for index, match in enumerate(route.match):
        place = ((path, "match"), index)
        _check_connection(match, place, report)
        if match.source_subnet:
            text = "Istio has this field, but never does anything with it"
            report.warning((place, "sourceSubnet"), reasons.UNSUPPORTED_FIELD, text)
    _check_destinations(route, path, report)


def wrong_generated(sni: str) -> str:
    """Return what is wrong with `outbound_.<port>_._.<host>`, or an empty text."""
    parts = sni.split("_")
    if len(parts) >= 4 and any(map(str.isdigit, parts[1])) and any(map(str.isalpha, parts[3])):
        return ""
    return f"{sni[:100]!r} is not of the form outbound_.<port>_._.<host>"


def check_subnets(subnets: Sequence[str], path: Path, report: Report) -> None:
    """Report what is neither an address nor a block of addresses."""
    for index, subnet in enumerate(subnets):
        if not is_block(subnet):
            text = f"{subnet[:100]!r} is neither an IP address nor a block such as 10.0.0.0/8"
            report.error((path, index), reasons.INVALID_ADDRESS, text)


def is_block(text: str) -> bool:
    """Tell whether `text` is an IP address, or a CIDR block (host bits may be set)."""
    address, slash, length = text.partition("/")
    if not slash:
        return is_address(text)
    # Python would also take a netmask, or digits with a sign or leading zeros; Go does not.
    if not (length.isascii() and length.isdigit()) or (len(length) > 1 and length[0] == "0"):
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "%" not in address


def _check_destinations(route: TlsRoute | TcpRoute, path: Path, report: Report) -> None:
    if not route.route:
        report.error((path, "route"), reasons.MISSING_FIELD, "needs one destination at least")
    check_routes(route.route, path, report)


def _check_connection(match: TlsMatch | TcpMatch, path: Path, report: Report) -> None:
    check_subnets(match.destination_subnets, (path, "destinationSubnets"), report)
    check_match_port(match.port, path, report)
    check_labels(match.source_labels, (path, "sourceLabels"), report)
    check_gateways(match.gateways, path, report)


def _check_sni(sni: str, path: Path, report: Report, *, hosts: Cover, generated: bool) -> None:
    made_up = generated and sni.startswith(GENERATED_SNI)
    wrong = wrong_generated(sni) if made_up else wrong_pattern(sni)
    if wrong and is_address(sni):
        text = "an SNI is never an address in the standard, and few clients send one"
        report.warning(path, reasons.INVALID_SNI, text)
    elif wrong:
        report.error(path, reasons.INVALID_SNI, wrong)
    elif not hosts.covers(sni):
        text = f"no host of the VirtualService covers {sni!r}"
        report.error(path, reasons.INVALID_SNI, text)
