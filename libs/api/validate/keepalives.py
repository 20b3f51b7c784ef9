"""Rules about TCP keepalive, of DestinationRules, Sidecars and MeshConfig."""

from libs.api import reasons
from libs.api.networking.destination_rule import TcpKeepalive
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.durations import check_duration

LARGEST = 2**32 - 1
"""In seconds; Envoy's fields hold no more."""

LINUX_SECONDS = 32_767
LINUX_PROBES = 127


def check_keepalive(keepalive: TcpKeepalive | None, path: Path, report: Report) -> None:
    """Report times that Envoy cannot be told; warn of what Linux does not take."""
    if keepalive is None:
        return
    for field, time in (("time", keepalive.time), ("interval", keepalive.interval)):
        check_duration(time, (path, field), report)
        seconds = 0 if time is None else time // 1000
        if seconds > LARGEST:
            text = f"must not be longer than {LARGEST} seconds"
            report.error((path, field), reasons.INVALID_DURATION, text)
        elif seconds > LINUX_SECONDS:
            text = f"Linux takes no more than {LINUX_SECONDS} seconds"
            report.warning((path, field), reasons.OUT_OF_RANGE, text)
    if keepalive.probes > LINUX_PROBES:
        text = f"Linux takes no more than {LINUX_PROBES} probes"
        report.warning((path, "probes"), reasons.OUT_OF_RANGE, text)
