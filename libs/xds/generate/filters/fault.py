"""Faults that a client's proxy makes: delays and errors, each for a share of requests.

The filter stands in every outbound connection manager and does nothing until a route configures it.
"""

from envoy.extensions.filters.common.fault.v3.fault_pb2 import FaultDelay
from envoy.extensions.filters.http.fault.v3.fault_pb2 import FaultAbort, HTTPFault
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.any_pb2 import Any

from libs.model.grpc import STATUSES
from libs.model.traffic import Abort, Delay, Fault
from libs.xds.generate import typed

NAME = "envoy.filters.http.fault"

_GRPC_STATUSES = {name: number for number, name in enumerate(STATUSES)}

FILTER: hcm.HttpFilter = typed.http_filter(NAME, HTTPFault())


def of_route(fault: Fault) -> Any | None:
    """Return what a route says to the filter, or None if it says nothing."""
    found = HTTPFault()
    if fault.delay is not None:
        found.delay.CopyFrom(_delay(fault.delay))
    if fault.abort is not None:
        found.abort.CopyFrom(_abort(fault.abort))
    if not (found.HasField("delay") or found.HasField("abort")):
        return None
    return typed.pack(found)


def share(percentage: float) -> FractionalPercent:
    """Return a share of requests, in millionths."""
    millionth = FractionalPercent.DenominatorType.MILLION
    return FractionalPercent(numerator=int(percentage * 10_000), denominator=millionth)


def _delay(delay: Delay) -> FaultDelay:
    found = FaultDelay(percentage=share(delay.percentage))
    found.fixed_delay.FromMilliseconds(delay.fixed)
    return found


def _abort(abort: Abort) -> FaultAbort:
    found = FaultAbort(percentage=share(abort.percentage))
    if abort.grpc_status:
        found.grpc_status = _GRPC_STATUSES.get(abort.grpc_status, _GRPC_STATUSES["UNKNOWN"])
    else:
        found.http_status = abort.http_status
    return found
