"""Metrics: what every process exports beside its own, and the text that Prometheus scrapes.

A service declares its metrics in its own `metrics.py` on prometheus_client's default registry.
Label values must come from a fixed set: never from a node id, host or path.
"""

import math

from prometheus_client import Gauge, exposition

from libs.runtime import watchdog

STALL = Gauge(
    "seine_event_loop_stall_worst_seconds",
    "Longest time in which the event loop ran nothing else, since the start.",
)
STALL.set_function(lambda: watchdog.PROCESS.worst)
STALLS = Gauge("seine_event_loop_stalls", "Stalls of the event loop over 100 ms, since the start.")
STALLS.set_function(lambda: float(watchdog.PROCESS.stalls))
LIFE_LEFT = Gauge(
    "seine_certificate_life_left",
    "Share of its life that the process' own certificate has left; it is renewed at a half.",
)
LIFE_LEFT.set_function(lambda: math.nan)
BUILD = Gauge("istio_build", "1 for the version that a component is of.", ["component", "tag"])

CONTENT_TYPE = exposition.CONTENT_TYPE_LATEST


def render() -> bytes:
    """Return all metrics of the process in Prometheus' text format."""
    return exposition.generate_latest()


class Total(Gauge):
    """A counter whose name has no suffix; only ever call `inc`.

    prometheus_client would rename Istio's `pilot_xds_pushes` to `pilot_xds_pushes_total`, where no
    dashboard would find it.
    """

    _type = "unknown"
