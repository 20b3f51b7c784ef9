"""Patches: one row for each EnvoyFilter, its values as JSON text that nobody reads here.

Whether a value fits Envoy's messages, and whether a patch finds what it is for, is seen where it is
applied, in `libs.xds.generate.patches`.
"""

from collections.abc import Iterator

import msgspec

from libs.api import reasons
from libs.api.networking import envoy_filter as api
from libs.api.problem import Problem, Severity
from libs.model.mesh import Key, Table
from libs.model.patches import ClusterMatch, ListenerMatch, Patch, PatchSet, RouteMatch
from libs.translate.attachments import attached
from libs.translate.state import Derived
from libs.translate.view import View


def derive(_: View, resource: api.EnvoyFilter) -> Derived:
    """Return the row of an EnvoyFilter."""
    metadata, spec = resource.metadata, resource.spec
    to = attached(resource.ref, None, spec.target_refs)
    problems = (*to.problems, *_in_vain(resource))
    if to.targets is None:
        return Derived(problems=problems)
    patches = (_patch(index, patch) for index, patch in enumerate(spec.config_patches))
    row = PatchSet(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        priority=spec.priority,
        selector=spec.workload_selector.labels if spec.workload_selector else {},
        targets=to.targets,
        patches=tuple(patch for patch in patches if patch is not None),
    )
    return Derived(rows=((Key(Table.PATCHES, row.ref), row),), problems=problems)


def _in_vain(resource: api.EnvoyFilter) -> Iterator[Problem]:
    """Yield what an EnvoyFilter asks for and does not get."""
    for index, one in enumerate(resource.spec.config_patches):
        place = f"spec.configPatches[{index}]"
        match = one.match
        if match and (match.waypoint or match.context is api.PatchContext.WAYPOINT):
            text = "there are no waypoints: this patch has no effect"
            yield _problem(resource, f"{place}.match", text)


def _problem(resource: api.EnvoyFilter, path: str, text: str) -> Problem:
    return Problem(resource.ref, path, reasons.UNSUPPORTED_FIELD, text, Severity.WARNING)


def _patch(index: int, written: api.ConfigPatch) -> Patch | None:
    match, patch = written.match or api.ObjectMatch(), written.patch or api.Patch()
    context = match.context or api.PatchContext.ANY
    if match.waypoint:
        return None
    value = b"" if patch.value is None else msgspec.json.encode(patch.value, order="deterministic")
    proxy = match.proxy or api.ProxyMatch()
    chosen = patch.filter_class
    return Patch(
        index=index,
        target=written.apply_to.value,
        operation=patch.operation.value,
        context=context.value,
        value=value,
        proxy_version=proxy.proxy_version,
        proxy_metadata=proxy.metadata,
        filter_class="" if chosen is api.FilterClass.UNSPECIFIED else chosen.value,
        cluster=_cluster(match.cluster),
        routes=_routes(match.route_configuration),
        listener=_listener(match.listener),
    )


def _cluster(match: api.ClusterMatch | None) -> ClusterMatch | None:
    if match is None:
        return None
    return ClusterMatch(match.name, match.service, match.subset, match.port_number)


def _routes(match: api.RouteConfigurationMatch | None) -> RouteMatch | None:
    if match is None:
        return None
    host = match.vhost or api.VirtualHostMatch()
    route = host.route or api.RouteMatch()
    anything = route.action is api.RouteAction.ANY
    return RouteMatch(
        name=match.name,
        port=match.port_number,
        port_name=match.port_name,
        gateway=match.gateway,
        host_name=host.name,
        domain=host.domain_name,
        route_name=route.name,
        action="" if anything else route.action.value,
    )


def _listener(match: api.ListenerMatch | None) -> ListenerMatch | None:
    if match is None:
        return None
    chain = match.filter_chain or api.FilterChainMatch()
    wanted = chain.filter or api.FilterMatch()
    protocols = (text.strip() for text in chain.application_protocols.split(","))
    return ListenerMatch(
        name=match.name,
        port=match.port_number,
        listener_filter=match.listener_filter,
        chain=match.filter_chain is not None,
        chain_name=chain.name,
        sni=chain.sni,
        transport_protocol=chain.transport_protocol,
        application_protocols=tuple(protocol for protocol in protocols if protocol),
        destination_port=chain.destination_port,
        transport_socket=chain.transport_socket,
        filter=wanted.name,
        sub_filter=wanted.sub_filter.name if wanted.sub_filter else "",
    )
