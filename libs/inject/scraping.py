"""Scraping: one page of metrics for Prometheus, with the application's own in it.

Prometheus cannot speak mTLS to the application, so its annotations are turned to the agent's page;
where the application's page is travels in ISTIO_PROMETHEUS_ANNOTATIONS.
"""

import json
from collections.abc import Mapping

from msgspec import Struct

from libs.api import reasons
from libs.api.report import Report

VARIABLE = "ISTIO_PROMETHEUS_ANNOTATIONS"
_PREFIX = "prometheus.io/"
_NAMES = ("scrape", "path", "port")
_PAGE = "/stats/prometheus"


class Scraping(Struct, frozen=True):
    """Annotations to set, and the value of ISTIO_PROMETHEUS_ANNOTATIONS."""

    annotations: Mapping[str, str] = {}
    variable: str = ""
    said: Mapping[str, str] | None = None
    """The annotations before; None if they stay as they are."""


def merged(annotations: Mapping[str, str], own_ports: tuple[int, ...], report: Report) -> Scraping:
    """Return how a pod is scraped.

    Args:
        annotations: the pod's.
        own_ports: the agent's page first, then the ports that are never the application's.
        report: takes a port that cannot be scraped.

    """
    said = {name: annotations[_PREFIX + name] for name in _NAMES if _PREFIX + name in annotations}
    if said.get("scrape", "true").lower() == "false":
        return Scraping()
    port = said.get("port", "80")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        path = ((None, "metadata"), "annotations")
        text = f"{port[:100]!r} is not a port: metrics are not merged"
        report.warning((path, _PREFIX + "port"), reasons.INVALID_ANNOTATION, text)
        return Scraping()
    wanted = {"scrape": "true", "port": str(own_ports[0]), "path": _PAGE}
    turned = {_PREFIX + name: value for name, value in wanted.items()}
    before = {_PREFIX + name: value for name, value in said.items()}
    if "scrape" not in said or int(port) in own_ports:
        return Scraping(turned, said=before)
    return Scraping(turned, json.dumps(said, separators=(",", ":")), said=before)


def restored(annotations: Mapping[str, str], said: Mapping[str, str] | None) -> dict[str, str]:
    """Return annotations with what they `said` before they were turned; None: they were not."""
    if said is None:
        return dict(annotations)
    names = {_PREFIX + name for name in _NAMES}
    kept = {key: value for key, value in annotations.items() if key not in names}
    return kept | {key: said[key] for key in said if key in names}
