"""Changes of headers on a route or a weighted destination.

What is set comes before what is added, each by name. Pseudo headers cannot be changed, but a set
authority becomes a rewrite of the host.
"""

from collections.abc import Iterable, Iterator, Mapping

from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.config.route.v3.route_components_pb2 import Route, WeightedCluster

from libs.model.traffic import HeaderOperations

_Action = HeaderValueOption.HeaderAppendAction
_SET = _Action.OVERWRITE_IF_EXISTS_OR_ADD
_ADD = _Action.APPEND_IF_EXISTS_OR_ADD


def change(carrier: Route | WeightedCluster.ClusterWeight, wanted: HeaderOperations) -> None:
    """Add the changes to `carrier`."""
    carrier.request_headers_to_add.extend(_options(wanted.request_set, _SET))
    carrier.request_headers_to_add.extend(_options(wanted.request_add, _ADD))
    carrier.request_headers_to_remove.extend(_changeable(wanted.request_remove))
    carrier.response_headers_to_add.extend(_options(wanted.response_set, _SET))
    carrier.response_headers_to_add.extend(_options(wanted.response_add, _ADD))
    carrier.response_headers_to_remove.extend(_changeable(wanted.response_remove))


def authority(wanted: HeaderOperations | None) -> str:
    """Return the host that requests are rewritten to, or ""."""
    if wanted is None:
        return ""
    return _authority(wanted.request_set) or _authority(wanted.request_add)


def _authority(headers: Mapping[str, str]) -> str:
    named = (value for key, value in headers.items() if key.lower() in {":authority", "host"})
    return next(named, "")


def _options(
    headers: Mapping[str, str], action: "HeaderValueOption.HeaderAppendAction.ValueType"
) -> Iterator[HeaderValueOption]:
    for key in _changeable(sorted(headers)):
        header = HeaderValue(key=key, value=headers[key])
        yield HeaderValueOption(header=header, append_action=action)


def _changeable(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if not name.startswith(":") and name.lower() != "host")
