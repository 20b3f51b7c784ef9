"""Cross-origin rules of a route.

The filter stands in every outbound connection manager and does nothing until a route configures it.
"""

from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors as CorsFilter
from envoy.extensions.filters.http.cors.v3.cors_pb2 import CorsPolicy
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.any_pb2 import Any

from libs.model.traffic import Cors
from libs.xds.generate import route_match, typed

NAME = "envoy.filters.http.cors"

FILTER: hcm.HttpFilter = typed.http_filter(NAME, CorsFilter())


def of_route(cors: Cors) -> Any:
    """Return what a route says to the filter."""
    found = CorsPolicy(
        allow_headers=",".join(cors.allow_headers),
        allow_methods=",".join(cors.allow_methods),
        expose_headers=",".join(cors.expose_headers),
    )
    origins = (route_match.text(origin) for origin in cors.allow_origins)
    found.allow_origin_string_match.extend(origin for origin in origins if origin is not None)
    always = FractionalPercent(numerator=100, denominator=FractionalPercent.DenominatorType.HUNDRED)
    found.filter_enabled.default_value.CopyFrom(always)
    found.forward_not_matching_preflights.value = cors.unmatched_preflights != "IGNORE"
    if cors.allow_credentials is not None:
        found.allow_credentials.value = cors.allow_credentials
    if cors.max_age is not None:
        found.max_age = str(cors.max_age // 1000)
    return typed.pack(found)
