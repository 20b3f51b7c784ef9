"""Peer metadata: a client's proxy tells the server's which workload it is, in headers.

What the headers say counts only over mesh TLS, and only if the namespace in them is that of the
certificate: a caller in plaintext is nobody, and one with a certificate can at most pass for a
neighbour. They are taken away before anything else reads the request, whoever sent them. Clients
send them to services of the mesh alone; headers of that name that an application wrote are dropped.

The namespace itself is never taken from a header: it is read off the certificate once for each
connection, so that also connections of bytes, and callers that send no headers, have theirs.

Telemetry reads what was believed as filter state, `istio.peer.<field>`.
"""

from functools import lru_cache

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from envoy.config.core.v3.base_pb2 import DataSource, HeaderValue, HeaderValueOption
from envoy.config.core.v3.cel_pb2 import CelExpressionConfig
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation as HeaderMutationFilter,
)
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import Mutations
from envoy.extensions.filters.http.set_filter_state.v3.set_filter_state_pb2 import Config
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.filters.network.set_filter_state.v3 import (
    set_filter_state_pb2 as of_connections,
)
from envoy.extensions.formatter.cel.v3.cel_pb2 import Cel

from libs.xds.generate import newer, typed
from libs.xds.types import field as wire

READING = "istio.metadata_exchange"
REMOVAL = "istio.metadata_exchange.removal"

FIELDS = (
    "workload",
    "workload_namespace",
    "app",
    "version",
    "canonical_service",
    "canonical_revision",
    "cluster",
)

NAMESPACE = "workload_namespace"
"""The field that the certificate proves."""

_PREFIX = "x-seine-peer-"
_PART = f"{_PREFIX}part"
_MAX_LENGTH = 253
_CEL_CONFIG = 1  # of the formatter
_AFTER_HANDSHAKE = 2  # of the filter of connections, beside `on_new_connection`
IN_MESH = (
    "has(xds.cluster_metadata.filter_metadata.istio.services)"
    " && !has(xds.cluster_metadata.filter_metadata.istio.external)"
)
"""Tells, as CEL, whether a request goes to a service of the mesh."""


def state(field: str) -> str:
    """Return the name of the filter state that holds a field of the peer."""
    return f"istio.peer.{field}"


@lru_cache(maxsize=4096)
def writing(own: tuple[str, ...]) -> hcm.HttpFilter:
    """Return the filter of a client; `own` has the values of `FIELDS`, empty where unknown."""
    told = [
        HeaderMutation(append=_told(_header(field), value))
        for field, value in zip(FIELDS, own, strict=True)
        if value
    ]
    part = _told(_PART, f"/ns/{own[FIELDS.index(NAMESPACE)]}/sa/")
    return _mutating(READING, [*_REMOVED, *told, HeaderMutation(append=part)])


def _told(name: str, value: str) -> HeaderValueOption:
    literal = value.replace("\\", "\\\\").replace("'", "\\'").replace("%", "%%")
    return HeaderValueOption(
        header=HeaderValue(key=name, value=f"%CEL({IN_MESH} ? '{literal}' : '')%"),
        append_action=HeaderValueOption.HeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD,
    )


def _header(field: str) -> str:
    return f"{_PREFIX}{field.replace('_', '-')}"


def _mutating(name: str, mutations: list[HeaderMutation]) -> hcm.HttpFilter:
    changes = HeaderMutationFilter(mutations=Mutations(request_mutations=mutations))
    return typed.http_filter(name, changes)


def _told_by_header(field: str) -> FilterStateValue:
    header = _header(field)
    known = f"'{header}' in request.headers && size(request.headers['{header}']) <= {_MAX_LENGTH}"
    return _value(field, f"{known} && {_proved()} ? request.headers['{header}'] : ''")


def _value(field: str, expression: str) -> FilterStateValue:
    return FilterStateValue(
        object_key=state(field),
        factory_key="envoy.string",
        format_string=SubstitutionFormatString(
            text_format_source=DataSource(inline_string=f"%CEL({expression})%"),
            omit_empty_values=True,
        ),
        read_only=True,
        skip_if_empty=True,
    )


def _certified() -> Filter:
    """Return the filter that reads the namespace off `spiffe://<domain>/ns/<namespace>/sa/<name>`.

    A certificate that is none of a workload has none.
    """
    parts = "connection.uri_san_peer_certificate.split('/')"
    shape = f"size({parts}) == 7 && {parts}[0] == 'spiffe:' && {parts}[1] == ''"
    names = f"{parts}[3] == 'ns' && {parts}[5] == 'sa'"
    value = _value(NAMESPACE, f"connection.mtls && {shape} && {names} ? {parts}[4] : ''")
    value.format_string.formatters.append(_taking_apart())
    config = of_connections.Config()
    body = value.SerializeToString(deterministic=True)
    config.MergeFromString(wire(_AFTER_HANDSHAKE, body))
    return typed.network_filter(READING, config)


def _taking_apart() -> TypedExtensionConfig:
    """Return the formatter whose CEL takes texts apart; the built-in one does not."""
    formatter = Cel()
    newer.set_message(formatter, _CEL_CONFIG, CelExpressionConfig(enable_string_functions=True))
    return TypedExtensionConfig(name="envoy.formatter.cel", typed_config=typed.pack(formatter))


def _proved() -> str:
    """Return, as CEL, whether the namespace in the headers is that of the certificate.

    Envoy's CEL joins no texts. So the caller also sends the part of its SPIFFE id around the
    namespace; a namespace without a slash that is part of that, and as long as what stands between
    `/ns/` and `/sa/`, is just that, unless it is called like one of these two itself.
    """
    space, part = f"request.headers['{_header(NAMESPACE)}']", f"request.headers['{_PART}']"
    return (
        f"connection.mtls && '{_PART}' in request.headers"
        f" && '{_header(NAMESPACE)}' in request.headers"
        f" && connection.uri_san_peer_certificate.contains({part})"
        f" && {part}.startsWith('/ns/') && {part}.endsWith('/sa/')"
        f" && {part}.contains({space}) && !{space}.contains('/')"
        f" && size({part}) == size({space}) + {len('/ns/' + '/sa/')}"
        f" && {space} != 'ns' && {space} != 'sa'"
    )


_REMOVED = [HeaderMutation(remove=name) for name in (*map(_header, FIELDS), _PART)]

_TOLD = [_told_by_header(field) for field in FIELDS if field != NAMESPACE]

SERVER_FILTERS = (
    typed.http_filter(READING, Config(on_request_headers=_TOLD)),
    _mutating(REMOVAL, _REMOVED),
)
"""For every inbound HTTP connection manager: what the peer says is noted, and taken away."""

CERTIFIED = _certified()
"""For every inbound chain that ends mesh TLS, first of its filters."""
