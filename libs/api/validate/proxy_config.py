"""Rules of a ProxyConfig."""

from libs.api.networking.proxy_config import ProxyConfig
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.labels import check_selector

SPEC: Path = (None, "spec")


def check(resource: ProxyConfig, report: Report) -> None:
    """Report what is wrong with a ProxyConfig."""
    check_selector(resource.spec.selector, (SPEC, "selector"), report)
