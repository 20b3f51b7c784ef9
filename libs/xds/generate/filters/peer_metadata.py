"""Peer metadata: a client's proxy tells the server's which workload it is, in headers.

What the headers say counts only over mesh TLS, and only if the namespace in them is that of the
certificate: a caller in plaintext is nobody, and one with a certificate can at most pass for a
neighbour. They are taken away before anything else reads the request, whoever sent them. Clients
send them to services of the mesh alone; headers of that name that an application wrote are dropped.

Telemetry reads what was believed as filter state, `istio.peer.<field>`.
"""

from functools import lru_cache

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation
from envoy.config.core.v3.base_pb2 import DataSource, HeaderValue, HeaderValueOption
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import (
    HeaderMutation as HeaderMutationFilter,
)
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import Mutations
from envoy.extensions.filters.http.set_filter_state.v3.set_filter_state_pb2 import Config
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)

from libs.xds.generate import typed

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

_PREFIX = "x-seine-peer-"
_PART = f"{_PREFIX}part"
_NAMESPACE = "workload_namespace"
_MAX_LENGTH = 253
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
    part = _told(_PART, f"/ns/{own[FIELDS.index(_NAMESPACE)]}/sa/")
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


def _value(field: str) -> FilterStateValue:
    header = _header(field)
    known = f"'{header}' in request.headers && size(request.headers['{header}']) <= {_MAX_LENGTH}"
    text = f"%CEL({known} && {_proved()} ? request.headers['{header}'] : '')%"
    return FilterStateValue(
        object_key=state(field),
        factory_key="envoy.string",
        format_string=SubstitutionFormatString(
            text_format_source=DataSource(inline_string=text), omit_empty_values=True
        ),
        read_only=True,
        skip_if_empty=True,
    )


def _proved() -> str:
    """Return, as CEL, whether the namespace in the headers is that of the certificate.

    Envoy's CEL joins no texts. So the caller also sends the part of its SPIFFE id around the
    namespace; a namespace without a slash that is part of that, and as long as what stands between
    `/ns/` and `/sa/`, is just that, unless it is called like one of these two itself.
    """
    space, part = f"request.headers['{_header(_NAMESPACE)}']", f"request.headers['{_PART}']"
    return (
        f"connection.mtls && '{_PART}' in request.headers"
        f" && '{_header(_NAMESPACE)}' in request.headers"
        f" && connection.uri_san_peer_certificate.contains({part})"
        f" && {part}.startsWith('/ns/') && {part}.endsWith('/sa/')"
        f" && {part}.contains({space}) && !{space}.contains('/')"
        f" && size({part}) == size({space}) + {len('/ns/' + '/sa/')}"
        f" && {space} != 'ns' && {space} != 'sa'"
    )


_REMOVED = [HeaderMutation(remove=name) for name in (*map(_header, FIELDS), _PART)]

SERVER_FILTERS = (
    typed.http_filter(READING, Config(on_request_headers=[_value(field) for field in FIELDS])),
    _mutating(REMOVAL, _REMOVED),
)
"""For every inbound HTTP connection manager: what the peer says is noted, and taken away."""
