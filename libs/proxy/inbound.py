"""Inbound scope: what a proxy lets in for its own workload.

A workload serves a service when the service's selector covers its labels, or when one of the
service's endpoints is this workload. Where several services expose the same port of the workload,
the oldest decides the protocol; of equally old ones the lesser host name. Services of other
namespaces never count.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from msgspec import structs

from libs.model.extensions import Extension
from libs.model.ids import Ref, ServiceKey
from libs.model.mesh import Mesh
from libs.model.patches import PatchSet
from libs.model.proxy_settings import ProxySettings
from libs.model.security import AccessPolicy
from libs.model.service import Protocol, Resolution, Service, ServicePort
from libs.model.settings import MeshSettings
from libs.model.sidecar import Sidecar
from libs.model.telemetry import TelemetryPolicy
from libs.model.tokens import TokenPolicy
from libs.model.traffic import HostPolicy
from libs.model.workload import Workload, canonical_name, canonical_revision
from libs.proxy import additions, ingress
from libs.proxy.attachments import attaches
from libs.proxy.inbound_pools import PoolIndex, PoolIndexes
from libs.proxy.ingress import Exposed
from libs.proxy.memberships import Membership, Memberships
from libs.proxy.node import Interception, Proxy, ProxyType
from libs.proxy.own_cluster import own_cluster
from libs.proxy.peers import PeerPolicies, selects
from libs.proxy.scope import InboundPort, InboundScope
from libs.proxy.sidecars import SidecarIndex
from libs.proxy.telemetry import effective

UNTRANSLATED = "experimental.istio.io/disable-gateway-port-translation"
"""The label of services whose ports gateways must not take for their own."""

R = TypeVar(
    "R", Service, AccessPolicy, TokenPolicy, TelemetryPolicy, PatchSet, Extension, HostPolicy
)
_Groups = Mapping[str, tuple[R, ...]]


class InboundScoper:
    """Makes inbound scopes for the proxies of one mesh after another.

    What tables say is indexed once while they are the same, and a scope is the same object while
    nothing that it depends on changed.
    """

    def __init__(self) -> None:
        self._memberships = Memberships()
        self._services: tuple[object, _Groups[Service]] = (None, {})
        self._policies: tuple[object, _Groups[AccessPolicy]] = (None, {})
        self._tokens: tuple[object, _Groups[TokenPolicy]] = (None, {})
        self._telemetry: tuple[object, _Groups[TelemetryPolicy]] = (None, {})
        self._patches: tuple[object, _Groups[PatchSet]] = (None, {})
        self._extensions: tuple[object, _Groups[Extension]] = (None, {})
        self._host_policies: tuple[object, _Groups[HostPolicy]] = (None, {})
        self._pools = PoolIndexes()
        self._peers: tuple[object, object, PeerPolicies] = (None, None, PeerPolicies(Mesh()))
        self._sidecars: tuple[object, object, SidecarIndex] = (None, None, SidecarIndex((), ""))
        self._own_settings: tuple[object, dict[ProxySettings, MeshSettings]] = (None, {})
        self._scopes: dict[str, tuple[_Inputs, InboundScope]] = {}

    def scope(self, mesh: Mesh, proxy: Proxy) -> InboundScope:
        """Return what `proxy` lets in. Equal workloads give equal scopes."""
        inputs = self._inputs(mesh, proxy)
        known = self._scopes.get(proxy.id)
        if known is not None and all(map(_is, known[0], inputs)):
            return known[1]
        scope = _scope(inputs)
        if known is not None and known[1] == scope:
            scope = known[1]
        self._scopes[proxy.id] = (inputs, scope)
        return scope

    def published(self, mesh: Mesh, proxy: Proxy) -> tuple[tuple[int, int], ...]:
        """Return the workload's own port for each port that a service publishes for it, sorted.

        Of several services the oldest counts. One that is labelled so publishes its own ports.
        """
        inputs = self._inputs(mesh, proxy)
        ports: dict[int, int] = {}
        for service, port, target in _served(inputs, inputs.workload or _unseen(proxy)):
            if UNTRANSLATED not in service.labels:
                ports.setdefault(port.number, target)
        return tuple(sorted(ports.items()))

    def forget(self, proxy: Proxy) -> None:
        """Drop what is kept of a proxy that has gone."""
        self._scopes.pop(proxy.id, None)

    def _inputs(self, mesh: Mesh, proxy: Proxy) -> "_Inputs":
        self._update(mesh)
        workload = mesh.workloads.get(proxy.workload)
        namespace = workload.namespace if workload else proxy.namespace
        policies, tokens = self._policies[1], self._tokens[1]
        return _Inputs(
            proxy=proxy,
            workload=workload,
            settings=self._settings_of(mesh, proxy.settings),
            services=self._services[1].get(namespace, ()),
            membership=self._memberships.of(proxy.workload),
            peers=self._peers[2],
            mesh_policies=policies.get(mesh.settings.root_namespace, ()),
            policies=policies.get(namespace, ()),
            mesh_telemetry=self._telemetry[1].get(mesh.settings.root_namespace, ()),
            telemetry=self._telemetry[1].get(namespace, ()),
            mesh_tokens=tokens.get(mesh.settings.root_namespace, ()),
            tokens=tokens.get(namespace, ()),
            mesh_patches=self._patches[1].get(mesh.settings.root_namespace, ()),
            patches=self._patches[1].get(namespace, ()),
            mesh_extensions=self._extensions[1].get(mesh.settings.root_namespace, ()),
            extensions=self._extensions[1].get(namespace, ()),
            sidecar=self._sidecars[2].choose(namespace, proxy.labels),
            pools=self._pools_of(namespace, mesh.settings),
        )

    def _pools_of(self, namespace: str, settings: MeshSettings) -> PoolIndex:
        groups, root = self._host_policies[1], settings.root_namespace
        at_root = () if namespace == root else groups.get(root, ())
        return self._pools.of(namespace, (at_root, groups.get(namespace, ())), settings)

    def _settings_of(self, mesh: Mesh, own: ProxySettings | None) -> MeshSettings:
        """Return the mesh's settings with those of a proxy; equal ones are the same object."""
        if self._own_settings[0] is not mesh.settings:
            self._own_settings = (mesh.settings, {})
        if own is None or own == mesh.settings.proxy:
            return mesh.settings
        known = self._own_settings[1]
        return known.setdefault(own, structs.replace(mesh.settings, proxy=own))

    def _update_policies(self, mesh: Mesh) -> None:
        if self._tokens[0] is not mesh.token_policies:
            rows = sorted(mesh.token_policies.values(), key=lambda one: (one.name, one.ref))
            self._tokens = (mesh.token_policies, _grouped(rows, self._tokens[1]))
        if self._telemetry[0] is not mesh.telemetry:
            told = sorted(mesh.telemetry.values(), key=lambda one: one.ref)
            self._telemetry = (mesh.telemetry, _grouped(told, self._telemetry[1]))

    def _update(self, mesh: Mesh) -> None:
        self._memberships.update(mesh.endpoints)
        if self._host_policies[0] is not mesh.host_policies:
            pooled = sorted(mesh.host_policies.values(), key=lambda one: one.ref)
            self._host_policies = (mesh.host_policies, _grouped(pooled, self._host_policies[1]))
        if self._services[0] is not mesh.services:
            groups = _grouped(sorted(mesh.services.values(), key=_age), self._services[1])
            self._services = (mesh.services, groups)
        if self._policies[0] is not mesh.access_policies:
            ordered = sorted(mesh.access_policies.values(), key=lambda one: (one.name, one.ref))
            self._policies = (mesh.access_policies, _grouped(ordered, self._policies[1]))
        self._update_policies(mesh)
        if self._patches[0] is not mesh.patches:
            sets = sorted(mesh.patches.values(), key=lambda one: one.ref)
            self._patches = (mesh.patches, _grouped(sets, self._patches[1]))
        if self._extensions[0] is not mesh.extensions:
            extensions = sorted(mesh.extensions.values(), key=lambda one: one.ref)
            self._extensions = (mesh.extensions, _grouped(extensions, self._extensions[1]))
        if self._sidecars[0] is not mesh.sidecars or self._sidecars[1] is not mesh.settings:
            index = SidecarIndex(mesh.sidecars.values(), mesh.settings.root_namespace)
            self._sidecars = (mesh.sidecars, mesh.settings, index)
        if self._peers[0] is not mesh.peer_policies or self._peers[1] is not mesh.settings:
            self._peers = (mesh.peer_policies, mesh.settings, PeerPolicies(mesh))


def inbound_scope(mesh: Mesh, proxy: Proxy) -> InboundScope:
    """Return what `proxy` lets in. For many proxies or meshes keep an `InboundScoper`."""
    return InboundScoper().scope(mesh, proxy)


class _Inputs(NamedTuple):
    """All that decides one inbound scope; compared by identity."""

    proxy: Proxy
    workload: Workload | None
    settings: MeshSettings
    services: tuple[Service, ...]  # of the workload's namespace, oldest first
    membership: Membership
    peers: PeerPolicies
    mesh_policies: tuple[AccessPolicy, ...]  # of the root namespace
    policies: tuple[AccessPolicy, ...]  # of the workload's namespace
    mesh_telemetry: tuple[TelemetryPolicy, ...]  # of the root namespace
    telemetry: tuple[TelemetryPolicy, ...]  # of the workload's namespace
    mesh_tokens: tuple[TokenPolicy, ...]  # of the root namespace
    tokens: tuple[TokenPolicy, ...]  # of the workload's namespace
    mesh_patches: tuple[PatchSet, ...]  # of the root namespace
    patches: tuple[PatchSet, ...]  # of the workload's namespace
    mesh_extensions: tuple[Extension, ...]  # of the root namespace
    extensions: tuple[Extension, ...]  # of the workload's namespace
    sidecar: Sidecar | None
    pools: PoolIndex  # of the workload's namespace


def _is(left: object, right: object) -> bool:
    return left is right


def _grouped(rows: Iterable[R], before: _Groups[R]) -> _Groups[R]:
    """Return rows by namespace; a group whose rows are all the same stays the same object."""
    groups: dict[str, list[R]] = {}
    for row in rows:
        groups.setdefault(row.namespace, []).append(row)
    result: dict[str, tuple[R, ...]] = {}
    for namespace, group in groups.items():
        known = before.get(namespace, ())
        same = len(known) == len(group) and all(map(_is, known, group))
        result[namespace] = known if same else tuple(group)
    return result


def _scope(inputs: _Inputs) -> InboundScope:
    proxy = inputs.proxy
    workload = inputs.workload or _unseen(proxy)
    explicit = proxy.interception is Interception.NONE
    mode, refs = inputs.peers.effective(workload.namespace, workload.labels, None)
    return InboundScope(
        type=proxy.type,
        namespace=workload.namespace,
        service_account=proxy.identity.service_account,
        workload_name=workload.workload_name or workload.name,
        canonical_name=canonical_name(workload),
        canonical_revision=canonical_revision(workload),
        labels=workload.labels,
        addresses=proxy.addresses if explicit or proxy.type is ProxyType.PROXYLESS else (),
        settings=inputs.settings,
        interception=proxy.interception,
        families=proxy.families,
        http10=proxy.http10,
        idle_timeout=proxy.idle_timeout,
        ports=_let_in(inputs, workload),
        mode=mode,
        mode_refs=refs,
        policies=_access(inputs, workload),
        telemetry=effective(
            inputs.mesh_telemetry + inputs.telemetry,
            workload,
            inputs.settings,
            lasting=proxy.counts_bytes,
        ),
        tokens=_tokens(inputs, workload),
        patches=_patches(inputs, workload),
        extensions=_extensions(inputs, workload),
        application_address=proxy.application_address if explicit else "",
        own=own_cluster(proxy, workload, _having(inputs, workload)),
    )


def _having(inputs: _Inputs, workload: Workload) -> Iterator[Service]:
    """Yield the services that have the workload, oldest first."""
    members = {service for service, _ in inputs.membership}
    for service in inputs.services:
        if service.resolution is not Resolution.ALIAS and _serves(workload, service, members):
            yield service


def _unseen(proxy: Proxy) -> Workload:
    """Return what a proxy says of itself, until its workload is seen."""
    return Workload(
        key=proxy.workload,
        ref=Ref(""),
        name=proxy.name,
        namespace=proxy.namespace,
        labels=proxy.labels,
    )


def _access(inputs: _Inputs, workload: Workload) -> tuple[AccessPolicy, ...]:
    """Return the policies that select the workload, those of the root namespace first."""
    at_root = inputs.settings.root_namespace == workload.namespace
    both = inputs.policies if at_root else inputs.mesh_policies + inputs.policies
    return tuple(policy for policy in both if _applies(policy, inputs, workload))


def _tokens(inputs: _Inputs, workload: Workload) -> tuple[TokenPolicy, ...]:
    """Return the token policies that select the workload, those of the root namespace first."""
    at_root = inputs.settings.root_namespace == workload.namespace
    both = inputs.tokens if at_root else inputs.mesh_tokens + inputs.tokens
    return tuple(policy for policy in both if _applies(policy, inputs, workload))


def _patches(inputs: _Inputs, workload: Workload) -> tuple[PatchSet, ...]:
    at_root = inputs.settings.root_namespace == workload.namespace
    both = inputs.patches if at_root else inputs.mesh_patches + inputs.patches
    if not both:
        return ()
    return additions.patches(both, inputs.proxy, workload=workload, settings=inputs.settings)


def _extensions(inputs: _Inputs, workload: Workload) -> tuple[Extension, ...]:
    at_root = inputs.settings.root_namespace == workload.namespace
    both = inputs.extensions if at_root else inputs.mesh_extensions + inputs.extensions
    return additions.extensions(both, workload, inputs.settings) if both else ()


def _applies(policy: AccessPolicy | TokenPolicy, inputs: _Inputs, workload: Workload) -> bool:
    """Tell whether a policy is for the workload: by its labels, or as the gateway it names."""
    if policy.targets:
        return attaches(policy, workload, inputs.settings)
    return selects(policy.selector, workload.labels)


def _let_in(inputs: _Inputs, workload: Workload) -> tuple[InboundPort, ...]:
    if inputs.proxy.type is not ProxyType.SIDECAR:  # what a Sidecar says is for Envoys
        serves = inputs.proxy.type is ProxyType.PROXYLESS
        return _ports(inputs, workload) if serves else ()
    sidecar = inputs.sidecar
    if sidecar is not None and sidecar.ingress:
        return tuple(_ingress(inputs, workload, sidecar))
    ports = _ports(inputs, workload)
    if sidecar is None or sidecar.inbound_pool is None:
        return ports
    pool = sidecar.inbound_pool
    return tuple(structs.replace(port, pool=pool, pool_refs=()) for port in ports)


def _ingress(inputs: _Inputs, workload: Workload, sidecar: Sidecar) -> Iterator[InboundPort]:
    """Yield the ports that a Sidecar lets in, then those that a peer policy names."""
    served = [Exposed(*one) for one in _served(inputs, workload)]
    listeners = {one.port.number: one for one in reversed(sidecar.ingress)}
    named = inputs.peers.ports(workload.namespace, workload.labels)
    for number in sorted({*listeners, *named}):
        mode, refs = inputs.peers.effective(workload.namespace, workload.labels, number)
        listener = listeners.get(number)
        if listener is None:
            yield InboundPort(port=number, protocol=Protocol.AUTO, mode=mode, mode_refs=refs)
            continue
        service, service_port = ingress.service_of(sidecar, listener, served)
        endpoint, endpoint_port = ingress.endpoint_of(listener, inputs.proxy)
        pool, pool_refs = inputs.pools.of(service, service_port)
        if chosen := listener.pool or sidecar.inbound_pool:
            pool, pool_refs = chosen, ()
        yield InboundPort(
            port=number,
            protocol=listener.port.protocol,
            mode=mode,
            mode_refs=(*refs, sidecar.ref),
            service=service,
            service_port=service_port,
            ingress=listener,
            pool=pool,
            pool_refs=pool_refs,
            endpoint=endpoint,
            endpoint_port=endpoint_port,
        )


def _ports(inputs: _Inputs, workload: Workload) -> tuple[InboundPort, ...]:
    exposed: dict[int, tuple[Service, ServicePort] | None] = {}
    # A service on a port that the proxy itself listens on would send it into a loop.
    for service, port, target in _served(inputs, workload):
        if target not in inputs.settings.own_ports:
            exposed.setdefault(target, (service, port))
    for named in inputs.peers.ports(workload.namespace, workload.labels):
        exposed.setdefault(named, None)
    modes = {
        number: inputs.peers.effective(workload.namespace, workload.labels, number)
        for number in exposed
    }
    pools = {number: inputs.pools.of(by[0], by[1].number) for number, by in exposed.items() if by}
    return tuple(
        InboundPort(
            port=number,
            protocol=by[1].protocol if by else Protocol.AUTO,
            mode=modes[number][0],
            mode_refs=modes[number][1],
            service=by[0] if by else None,
            service_port=by[1].number if by else 0,
            pool=pools[number][0] if by else None,
            pool_refs=pools[number][1] if by else (),
        )
        for number, by in sorted(exposed.items())
    )


def _served(inputs: _Inputs, workload: Workload) -> Iterator[tuple[Service, ServicePort, int]]:
    """Yield the served ports; of those that clash, the deciding one first."""
    members = {service for service, _ in inputs.membership}
    for service in inputs.services:
        if service.resolution is Resolution.ALIAS or not _serves(workload, service, members):
            continue
        for port in service.ports:
            target = _target(inputs.membership, workload, (service.key, port))
            if target and port.protocol is not Protocol.UDP:
                yield service, port, target


def _serves(workload: Workload, service: Service, members: set[ServiceKey]) -> bool:
    if service.key in members:
        return True
    return bool(service.selector) and selects(service.selector, workload.labels)


def _target(
    membership: Membership, workload: Workload, exposed: tuple[ServiceKey, ServicePort]
) -> int:
    """Return the workload's own port behind a service's port, or 0 if it has none."""
    service, port = exposed
    if known := membership.get((service, port.name)):
        return known
    if isinstance(port.target, int):
        return port.target or port.number
    named = (one.number for one in workload.ports if one.name == port.target)
    return next(named, 0)


def _age(service: Service) -> tuple[int, str]:
    return service.created, service.host
