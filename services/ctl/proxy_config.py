"""`seinectl proxy-config`: what one proxy was told, with the resource that each piece came from.

Clusters, listeners, routes and endpoints are what config-push sent; secrets are what Envoy holds,
as its admin page shows them: keys never leave it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from libs.xds.names import parse_cluster
from services.ctl import output
from services.ctl.mesh import RequestError
from services.ctl.opening import opened
from services.ctl.output import Format
from services.ctl.plane import Plane
from services.ctl.where import Where


class Kind(StrEnum):
    """What there is to see of a proxy."""

    CLUSTER = "cluster"
    LISTENER = "listener"
    ROUTE = "route"
    ENDPOINT = "endpoint"
    SECRET = "secret"  # noqa: S105 - a kind of configuration


Json = Mapping[str, Any]
Cells = Sequence[str]

_LISTS = {
    Kind.CLUSTER: ("dynamic_active_clusters", "cluster"),
    Kind.LISTENER: ("dynamic_listeners", "listener"),
    Kind.ROUTE: ("dynamic_route_configs", "route_config"),
    Kind.ENDPOINT: ("dynamic_endpoint_configs", "endpoint_config"),
}
_COLUMNS = {
    Kind.CLUSTER: ("HOST", "PORT", "SUBSET", "TYPE", "SOURCES"),
    Kind.LISTENER: ("NAME", "ADDRESS", "PORT", "FILTERS", "SOURCES"),
    Kind.ROUTE: ("ROUTE", "VIRTUAL HOST", "MATCH", "TARGET", "SOURCES"),
    Kind.ENDPOINT: ("ENDPOINT", "STATUS", "CLUSTER", "SOURCES"),
    Kind.SECRET: ("KIND", "NAMES", "SERIAL", "NOT BEFORE", "NOT AFTER"),
}


def run(where: Where, kind: Kind, proxy: str, *, form: Format) -> int:
    """Print one kind of a proxy's configuration."""
    with opened(where) as plane:
        try:
            name = plane.full_name(proxy)
            secrets = kind is Kind.SECRET
            items, sources = _secrets(plane, name) if secrets else _sent(plane, name, kind)
        except RequestError as error:
            output.fail(str(error), hint=f"Proxies are: {' '.join(_known(plane))}")
    if form is Format.JSON:
        output.print_json([_with_sources(item, sources) for item in items])
    else:
        rows = [row for item in items for row in _ROWS[kind](item, sources)]
        output.print_table(_COLUMNS[kind], rows)
    return output.OK


def _known(plane: Plane) -> Sequence[str]:
    try:
        return plane.expected or [str(row["proxy"]) for row in plane.statuses()]
    except RequestError:
        return ("not known",)


def _sent(plane: Plane, proxy: str, kind: Kind) -> tuple[list[Json], Json]:
    """Return the resources of a kind, and `sources` by name."""
    dump = plane.dump(proxy)
    key, field = _LISTS[kind]
    items: list[Json] = []
    for part in dump["configs"]:
        for entry in part.get(key, ()):
            held = entry.get("active_state", entry)
            items.append(held[field])
    return items, dump.get("sources", {})


def _secrets(plane: Plane, proxy: str) -> tuple[list[Json], Json]:
    """Return the certificates that a proxy's Envoy holds, each once."""
    found: dict[str, Json] = {}
    for entry in plane.certificates(proxy).get("certificates", ()):
        for key, kind in (("cert_chain", "certificate"), ("ca_cert", "root")):
            for certificate in entry.get(key, ()):
                serial = certificate.get("serial_number", "")
                found[f"{kind} {serial}"] = {"kind": kind, **certificate}
    return [found[key] for key in sorted(found)], {}


def _with_sources(item: Json, sources: Json) -> Json:
    name = _name(item)
    return {**item, "sources": sources[name]} if name in sources else item


def _name(item: Json) -> str:
    return str(item.get("name") or item.get("cluster_name") or "")


def _sources(item: Json, sources: Json) -> str:
    return output.clean_lines(sources.get(_name(item), ()))


def _cluster(item: Json, sources: Json) -> Iterator[Cells]:
    parsed = parse_cluster(_name(item))
    kind = item.get("type") or item.get("cluster_type", {}).get("name", "")
    known = (parsed.host, str(parsed.port), parsed.subset) if parsed else (_name(item), "", "")
    yield (*map(output.clean, known), kind or "STATIC", _sources(item, sources))


def _listener(item: Json, sources: Json) -> Iterator[Cells]:
    address = item.get("address", {}).get("socket_address", {})
    chains = [*item.get("filter_chains", ()), item.get("default_filter_chain", {})]
    filters = {_filter(each) for chain in chains for each in chain.get("filters", ())}
    yield (
        output.clean(_name(item)),
        str(address.get("address", "")),
        str(address.get("port_value", "")),
        " ".join(sorted(filters)),
        _sources(item, sources),
    )


def _filter(item: Json) -> str:
    return str(item.get("name", "")).rpartition(".")[2]


def _route(item: Json, sources: Json) -> Iterator[Cells]:
    for host in item.get("virtual_hosts", ()):
        for route in host.get("routes", ()):
            yield (
                output.clean(_name(item)),
                output.clean(host.get("name", "")),
                output.clean(_match(route.get("match", {}))),
                output.clean_lines(_targets(route)),
                output.clean_lines(_route_sources(route)) or _sources(item, sources),
            )


def _route_sources(route: Json) -> Iterator[str]:
    """Yield the references that the route itself carries, as Istio's metadata has them."""
    config = route.get("metadata", {}).get("filter_metadata", {}).get("istio", {}).get("config", "")
    parts = str(config).strip("/").split("/")
    if len(parts) >= 3:
        kind = "".join(word.capitalize() for word in parts[-2].split("-"))
        yield f"{kind}/{parts[-3]}/{parts[-1]}"


def _match(match: Json) -> str:
    path = next(
        (str(match[key]) for key in ("prefix", "path", "path_separated_prefix") if key in match), ""
    )
    if not path and "safe_regex" in match:
        path = f"~{match['safe_regex'].get('regex', '')}"
    headers = [header.get("name", "") for header in match.get("headers", ())]
    return " ".join([path, *(f"[{name}]" for name in headers)])


def _targets(route: Json) -> list[str]:
    action = route.get("route", {})
    if "weighted_clusters" in action:
        shares = action["weighted_clusters"].get("clusters", ())
        return [f"{share.get('weight', 0)} {share.get('name', '')}" for share in shares]
    if "cluster" in action:
        return [str(action["cluster"])]
    if "direct_response" in route:
        return [f"answer {route['direct_response'].get('status')}"]
    return ["redirect"] if "redirect" in route else []


def _endpoint(item: Json, sources: Json) -> Iterator[Cells]:
    for locality in item.get("endpoints", ()):
        for each in locality.get("lb_endpoints", ()):
            address = each.get("endpoint", {}).get("address", {}).get("socket_address", {})
            yield (
                f"{address.get('address', '')}:{address.get('port_value', '')}",
                str(each.get("health_status", "HEALTHY")),
                output.clean(_name(item)),
                _sources(item, sources),
            )


def _secret(item: Json, sources: Json) -> Iterator[Cells]:
    del sources
    names = [next(iter(name.values()), "") for name in item.get("subject_alt_names", ())]
    yield (
        str(item.get("kind", "")),
        output.clean_lines(map(str, names)),
        str(item.get("serial_number", "")),
        str(item.get("valid_from", "")),
        str(item.get("expiration_time", "")),
    )


_ROWS: Mapping[Kind, Callable[[Json, Json], Iterator[Cells]]] = {
    Kind.CLUSTER: _cluster,
    Kind.LISTENER: _listener,
    Kind.ROUTE: _route,
    Kind.ENDPOINT: _endpoint,
    Kind.SECRET: _secret,
}
