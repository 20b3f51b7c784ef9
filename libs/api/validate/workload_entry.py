"""Rules of a WorkloadEntry, and of what a WorkloadGroup and a ServiceEntry hold of that form."""

from libs.api import reasons
from libs.api.networking.workload_entry import WorkloadEntry, WorkloadEntrySpec
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import MAX_LABEL, is_address, is_label, wrong_name
from libs.api.validate.labels import check_labels
from libs.api.validate.ports import check_port
from libs.api.validate.sockets import UNIX, wrong_socket

SPEC: Path = (None, "spec")


def check(resource: WorkloadEntry, report: Report) -> None:
    """Report what is wrong with a WorkloadEntry."""
    check_workload(resource.spec, SPEC, report)


def check_workload(entry: WorkloadEntrySpec, path: Path, report: Report) -> None:
    """Report what is wrong with a workload whose address may be a host name."""
    check_reach(entry, path, report)
    check_ports(entry, path, report)
    check_labels(entry.labels, (path, "labels"), report)
    if entry.address and not entry.address.startswith(UNIX) and not is_address(entry.address):
        check_name(entry.address, (path, "address"), report)


def check_name(address: str, path: Path, report: Report) -> None:
    """Report an address that is neither an IP address nor a host name."""
    if not is_address(address) and (wrong := wrong_name(address)):
        report.error(path, reasons.INVALID_ADDRESS, wrong)


def check_reach(entry: WorkloadEntrySpec, path: Path, report: Report) -> None:
    """Report a workload without an address, or with a wrong or ambiguous socket."""
    place = (path, "address")
    if not entry.address:
        if not entry.network:
            report.error(place, reasons.MISSING_FIELD, "needs an address or a network")
        else:
            text = f"can only be reached through the gateway of network {entry.network[:100]!r}"
            report.warning(place, reasons.NO_EFFECT, text)
    check_socket(entry, path, report)


def check_socket(entry: WorkloadEntrySpec, path: Path, report: Report) -> None:
    """Report a unix socket that is none, or that has ports."""
    if not entry.address.startswith(UNIX):
        return
    if wrong := wrong_socket(entry.address):
        report.error((path, "address"), reasons.INVALID_ADDRESS, wrong)
    if entry.ports:
        text = "a unix socket has no ports"
        report.error((path, "ports"), reasons.CONFLICTING_FIELDS, text)


def check_ports(entry: WorkloadEntrySpec, path: Path, report: Report) -> None:
    """Report ports that are none, and names that no port can have."""
    path = (path, "ports")
    for name, number in entry.ports.items():
        if not is_label(name) or len(name) >= MAX_LABEL:
            text = f"{name[:100]!r} is not a port's name: a DNS label"
            report.error((path, name), reasons.INVALID_NAME, text)
        check_port(number, (path, name), report)
