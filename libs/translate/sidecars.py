"""Sidecars: one row for each, with what its proxies see and let in.

Which Sidecar a proxy goes by is decided in `libs.proxy.sidecars`. A namespace of `.` stays as it is
written: in the root namespace it means that of each proxy.
"""

from collections.abc import Iterator
from typing import cast

from msgspec.structs import replace

from libs.api import reasons
from libs.api.networking import sidecar as api
from libs.api.networking.destination_rule import H2UpgradePolicy
from libs.api.networking.server_tls import ServerTls
from libs.api.problem import Problem, Severity
from libs.api.validate.sidecar_listeners import binds_rest
from libs.model import gateway
from libs.model import sidecar as model
from libs.model.mesh import Key, Table
from libs.model.security import MtlsMode, PeerPolicy
from libs.model.service import Protocol
from libs.translate import protocols
from libs.translate.gateways import server_tls
from libs.translate.groups import Group
from libs.translate.http_routes import destination
from libs.translate.names import Names
from libs.translate.state import Derived
from libs.translate.traffic_policy import connection_pool
from libs.translate.view import View

_HTTP_PROXY = "http_proxy"


def derive(view: View, resource: api.Sidecar) -> Derived:
    """Return the row of a Sidecar, and what it asks for in vain."""
    metadata, spec = resource.metadata, resource.spec
    selector = spec.workload_selector
    policy = spec.outbound_traffic_policy
    proxy = policy.egress_proxy if policy else None
    row = model.Sidecar(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        selector=selector.labels if selector else None,
        egress=tuple(_egress(listener) for listener in spec.egress),
        ingress=tuple(_ingress(listener) for listener in spec.ingress),
        inbound_pool=connection_pool(spec.inbound_connection_pool),
        allow_any=policy.mode is api.OutboundMode.ALLOW_ANY if policy else None,
        egress_proxy=destination(proxy, Names(metadata.namespace, view.settings))
        if proxy
        else None,
    )
    return Derived(rows=((Key(Table.SIDECAR, row.ref), row),))


def check(view: View, resource: api.Sidecar) -> Derived:
    """Return what a Sidecar asks for in vain."""
    off = set(_without_mesh_tls(view, resource.metadata.namespace))
    return Derived(problems=tuple(_in_vain(resource, off)))


def _without_mesh_tls(view: View, namespace: str) -> Iterator[int]:
    """Yield the ports at which a peer policy may switch mutual TLS off; 0 stands for all."""
    for owner in sorted({namespace, view.settings.root_namespace}):
        for row in view.rows(Table.PEER_POLICY, Group.PEER_POLICIES, owner):
            policy = cast("PeerPolicy", row)
            if policy.mode is MtlsMode.DISABLE:
                yield 0
            yield from (port for port, mode in policy.ports.items() if mode is MtlsMode.DISABLE)


def _egress(listener: api.EgressListener) -> model.EgressListener:
    port = listener.port
    return model.EgressListener(
        hosts=tuple(_pattern(host) for host in listener.hosts),
        port=_port(port) if port else None,
        http_proxy=port is not None and port.protocol.lower() == _HTTP_PROXY,
        bind=listener.bind if port or binds_rest(listener) else "",
        bound=listener.capture_mode is api.CaptureMode.NONE,
    )


def _pattern(written: str) -> model.HostPattern:
    """`~namespace/host` leaves hosts out, and so does `~/host` in every namespace."""
    namespace, _, host = written.partition("/")
    if not namespace.startswith("~"):
        return model.HostPattern(namespace, host.lower())
    return model.HostPattern(namespace[1:] or "*", host.lower(), excluded=True)


def _port(port: api.SidecarPort) -> model.ListenerPort:
    if port.protocol.lower() == _HTTP_PROXY:
        return model.ListenerPort(port.number, Protocol.HTTP, port.name)
    return model.ListenerPort(port.number, protocols.of_name(port.protocol), port.name)


def _ingress(listener: api.IngressListener) -> model.IngressListener:
    return model.IngressListener(
        port=_port(listener.port),
        bind=listener.bind,
        bound=listener.capture_mode is api.CaptureMode.NONE,
        default_endpoint=listener.default_endpoint,
        pool=connection_pool(listener.connection_pool),
        tls=_tls(listener.tls),
    )


def _tls(written: ServerTls | None) -> gateway.ServerTls | None:
    """Certificates at a sidecar are files: Secrets are for gateways."""
    return replace(server_tls(written), credentials=(), ca_credential="") if written else None


_UNREAD_TLS = {
    "https_redirect": "httpsRedirect",
    "credential_name": "credentialName",
    "credential_names": "credentialNames",
    "ca_cert_credential_name": "caCertCredentialName",
}


def _in_vain(resource: api.Sidecar, off: set[int]) -> Iterator[Problem]:
    yield from _upgrades(resource)
    for index, listener in enumerate(resource.spec.ingress):
        if listener.tls is None:
            continue
        if not off & {0, listener.port.number}:
            text = "has no effect while no PeerAuthentication disables mutual TLS at the port"
            path = f"spec.ingress[{index}].tls"
            yield Problem(resource.ref, path, reasons.NO_EFFECT, text, Severity.WARNING)
        for field, name in _UNREAD_TLS.items():
            if getattr(listener.tls, field):
                path = f"spec.ingress[{index}].tls.{name}"
                yield _unread(resource, path)


def _upgrades(resource: api.Sidecar) -> Iterator[Problem]:
    spec = resource.spec
    pools = {"spec.inboundConnectionPool": spec.inbound_connection_pool}
    for index, listener in enumerate(spec.ingress):
        pools[f"spec.ingress[{index}].connectionPool"] = listener.connection_pool
    for place, pool in pools.items():
        if pool and pool.http and pool.http.h2_upgrade_policy is not H2UpgradePolicy.DEFAULT:
            text = "has no effect on what comes in: the application gets the protocol of its port"
            path = f"{place}.http.h2UpgradePolicy"
            yield Problem(resource.ref, path, reasons.UNSUPPORTED_FIELD, text, Severity.WARNING)


def _unread(resource: api.Sidecar, path: str) -> Problem:
    text = "has no effect at a sidecar"
    return Problem(resource.ref, path, reasons.UNSUPPORTED_FIELD, text, Severity.WARNING)
