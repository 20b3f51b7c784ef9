"""Tally: what the proxy's own agent is told of living TCP connections, so that it can count bytes.

Envoy's loggers of metrics cannot count what passes while a connection lasts: every number that
they see is of the whole connection (docs/adr/0061). So an entry goes to the agent at each interval
and at the end, in the form of an OpenTelemetry log record: whose connection it is, how many bytes
it has had until now, and the labels. The agent adds up differences. What is the same for all
entries of a logger stands once in each message.

Entries never hold traffic up: what does not fit into `_BUFFER_BYTES` for each worker and into the
requests that the bootstrap's cluster lets be under way is lost, which the next entry of the
connection makes good. Who agrees to this is said by the node's metadata (`libs.proxy.node`).
"""

from collections.abc import Sequence
from itertools import groupby

from envoy.config.accesslog.v3.accesslog_pb2 import (
    AccessLog,
    AccessLogFilter,
    AndFilter,
    LogTypeFilter,
    OrFilter,
)
from envoy.config.core.v3.config_source_pb2 import ApiVersion
from envoy.data.accesslog.v3.accesslog_pb2 import AccessLogType
from envoy.extensions.access_loggers.open_telemetry.v3.logs_service_pb2 import (
    OpenTelemetryAccessLogConfig,
)
from envoy.extensions.access_loggers.stats.v3.stats_pb2 import Config

from libs.xds import names
from libs.xds.generate import access_log, typed

_BUFFER_BYTES = 64 * 1024
_ABOUT = ("%CONNECTION_ID%", "%ACCESS_LOG_TYPE%")
_CONNECTED = "has(upstream.address)"


def loggers(counters: Sequence[Config.Counter]) -> list[AccessLog]:
    """Return the loggers of entries by which `counters` can be counted: one for equal labels."""
    return [_logger(list(group)) for _, group in groupby(counters, key=_labels)]


def _labels(counter: Config.Counter) -> list[tuple[str, str]]:
    return [(tag.name, tag.value_format) for tag in counter.stat.tags]


def _logger(counters: Sequence[Config.Counter]) -> AccessLog:
    """Return the logger of counters whose labels are equal.

    The body of an entry is a list: the connection, the kind of the entry, then name and value of
    each counter.
    """
    config = OpenTelemetryAccessLogConfig(disable_builtin_labels=True)
    common = config.common_config
    common.log_name = names.TALLY_CLUSTER
    common.transport_api_version = ApiVersion.V3
    common.grpc_service.envoy_grpc.cluster_name = names.TALLY_CLUSTER
    common.buffer_size_bytes.value = _BUFFER_BYTES
    values = [text for one in counters for text in (one.stat.name, one.value_format)]
    for text in (*_ABOUT, *values):
        config.body.array_value.values.add(string_value=text)
    for name, text in _labels(counters[0]):
        literal = text.replace("%%", "")
        if "%" in literal:
            config.attributes.values.add(key=name).value.string_value = text
        else:
            fixed = text.replace("%%", "%")
            config.resource_attributes.values.add(key=name).value.string_value = fixed
    return AccessLog(
        name=access_log.OPEN_TELEMETRY, typed_config=typed.pack(config), filter=_when()
    )


def _when() -> AccessLogFilter:
    """Return the filter of entries: the end, and before that only what has reached a server."""
    lasting = AndFilter(filters=[_of(AccessLogType.TcpPeriodic), access_log.matching(_CONNECTED)])
    both = [_of(AccessLogType.TcpConnectionEnd), AccessLogFilter(and_filter=lasting)]
    return AccessLogFilter(or_filter=OrFilter(filters=both))


def _of(event: AccessLogType.ValueType) -> AccessLogFilter:
    return AccessLogFilter(log_type_filter=LogTypeFilter(types=[event]))
