"""Classes: what each proxy is sent, made once for all proxies with equal scopes.

Used by one thread at a time, away from the event loop. A set of resources is remembered for as long
as some proxy has it, plus the latest few, so that a proxy that reconnects alone finds its own.
A type that cannot be generated keeps its last good set for those who have one; who has none is not
sent that type until it can be. That never touches other types, and no other class.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from weakref import WeakValueDictionary

from msgspec import Struct

from libs.model.mesh import Mesh, Table
from libs.proxy.errors import NodeError
from libs.proxy.memo import Memo
from libs.proxy.node import Proxy
from libs.proxy.scope import ProxyScope
from libs.proxy.scoper import Scoper
from libs.xds.types import ENDPOINT, ResourceSet
from services.config_push import metrics, stored
from services.config_push.isolation import Found, without_guilty
from services.config_push.queue import Lane

logger = logging.getLogger(__name__)

Generator = Callable[[ProxyScope], ResourceSet]
Affected = Callable[[frozenset[Table]], frozenset[str]]
Identify = Callable[[Mesh], Proxy]
"""Reads a proxy from its node as it stands in a mesh; raises NodeError."""

KEPT = 64


class Want(Struct, frozen=True):
    """A proxy that is to get a push."""

    connection: int
    lane: Lane
    identify: Identify
    tables: frozenset[Table]
    digest: str  # of the class that it belonged to
    before: Mapping[str, ResourceSet]  # what it was offered last


class Made(Struct, frozen=True):
    """What one proxy is to have."""

    connection: int
    digest: str
    name: str  # of the class, for people
    sets: Mapping[str, ResourceSet]
    whole: bool = True  # False: only endpoints are new, the rest has still to be made
    refusal: str = ""  # why the proxy may not go on


class SetKey(Struct, frozen=True, gc=False):
    """Names a set of resources by all that decides it."""

    type_url: str
    outbound: str
    inbound: str


class Classes:
    """Sets of resources by class."""

    def __init__(
        self, generators: Mapping[str, Generator], affected: Affected, scoper: Scoper | None = None
    ) -> None:
        self._generators = generators
        self._affected = affected
        self._scoper = scoper or Scoper()
        self._mesh: Mesh | None = None
        self._sets: WeakValueDictionary[SetKey, ResourceSet] = WeakValueDictionary()
        self._recent: deque[ResourceSet] = deque(maxlen=KEPT)
        self._endpoints: Memo[ResourceSet | None] = Memo()
        self._failed: set[SetKey] = set()
        self._scope_failed = False  # for some proxy of this mesh
        self._fresh: list[tuple[SetKey, ResourceSet]] = []

    def make(self, mesh: Mesh, want: Want) -> Made:
        """Return what a proxy should have of `mesh`. Meshes must come in their order."""
        if mesh is not self._mesh:
            self._mesh = mesh
            self._endpoints.turn()
            self._failed.clear()
            self._scope_failed = False
        try:
            proxy = want.identify(mesh)
        except NodeError as error:
            return Made(want.connection, want.digest, "", want.before, refusal=str(error))
        scope = self._scope(mesh, proxy)
        if scope is None:
            return Made(want.connection, want.digest, "", want.before)
        digest = f"{scope.outbound_digest}{scope.inbound_digest}"
        types, whole = self._types(want, same=digest == want.digest)
        made = {type_url: self._set(type_url, scope, want.before) for type_url in types}
        sets = {type_url: found for type_url, found in made.items() if found is not None}
        return Made(
            want.connection, digest, _name(scope, digest), {**want.before, **sets}, whole=whole
        )

    def missing(self, mesh: Mesh, want: Want) -> list[SetKey]:
        """Return the sets that would have to be generated for a proxy."""
        try:
            scope = self._scope(mesh, want.identify(mesh))
        except NodeError:
            return []
        if scope is None:
            return []
        keys = (_key(type_url, scope) for type_url in self._generators if type_url != ENDPOINT)
        return [key for key in keys if key not in self._sets]

    def learn(self, found: Iterable[tuple[SetKey, bytes]]) -> None:
        """Take over sets that somebody else has generated, as `stored.encode` wrote them."""
        for key, body in found:
            resources = stored.decode(key.type_url, body)
            if resources is not None:
                self._remember(key, resources, "cache")

    def forget(self, proxies: Iterable[Proxy]) -> None:
        """Drop what is kept of proxies that have gone."""
        for proxy in proxies:
            self._scoper.forget(proxy)

    def take_fresh(self) -> list[tuple[SetKey, ResourceSet]]:
        """Return what was generated since the last call, for others."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def _scope(self, mesh: Mesh, proxy: Proxy) -> ProxyScope | None:
        try:
            return self._scoper.scope(mesh, proxy)
        except Exception:
            metrics.INTERNAL_ERRORS.inc()
            if not self._scope_failed:  # one of a thousand tracebacks says it all
                self._scope_failed = True
                logger.exception("scope failed", extra={"proxy": proxy.id})
            return None

    def _types(self, want: Want, *, same: bool) -> tuple[list[str], bool]:
        """Return the types to make, and whether that is all there is to do."""
        absent = [name for name in self._generators if name not in want.before]
        if same:
            return [ENDPOINT, *(name for name in absent if name != ENDPOINT)], True
        if want.lane is Lane.ENDPOINTS:
            return [ENDPOINT], False
        touched = self._affected(want.tables) if want.tables else self._generators
        return [name for name in self._generators if name in touched or name in absent], True

    def _set(
        self, type_url: str, scope: ProxyScope, before: Mapping[str, ResourceSet]
    ) -> ResourceSet | None:
        last_good = before.get(type_url)
        if type_url == ENDPOINT:
            made = self._endpoints.get(
                (scope.endpoints,), lambda: self._attempt(type_url, scope, last_good).resources
            )
        else:
            key = _key(type_url, scope)
            made = self._sets.get(key)
            if made is None and key not in self._failed:
                made = self._generate(key, scope, last_good)
        return made or last_good

    def _generate(
        self, key: SetKey, scope: ProxyScope, last_good: ResourceSet | None
    ) -> ResourceSet | None:
        found = self._attempt(key.type_url, scope, last_good)
        if found.resources is None:
            self._failed.add(key)
        elif found.guilty:
            self._remember(key, found.resources, "isolated")
        else:
            self._remember(key, found.resources, "generated")
            self._fresh.append((key, found.resources))
        return found.resources

    def _attempt(self, type_url: str, scope: ProxyScope, last_good: ResourceSet | None) -> Found:
        generator = self._generators[type_url]
        try:
            return Found(generator(scope))
        except Exception:
            metrics.GENERATION_FAILURES.labels(type=metrics.type_name(type_url)).inc()
            found = without_guilty(generator, scope, last_good)
            logger.exception(
                "generation failed",
                extra={
                    "type": metrics.type_name(type_url),
                    "class": _name(scope, scope.inbound_digest),
                    "guilty": list(found.guilty),
                    "kept_last_good": found.resources is None,
                },
            )
            return found

    def _remember(self, key: SetKey, resources: ResourceSet, origin: str) -> None:
        self._sets[key] = resources
        self._recent.append(resources)
        metrics.GENERATED.labels(type=metrics.type_name(key.type_url), origin=origin).inc()


def _key(type_url: str, scope: ProxyScope) -> SetKey:
    return SetKey(type_url, scope.outbound_digest, scope.inbound_digest)


def _name(scope: ProxyScope, digest: str) -> str:
    inbound = scope.inbound
    return f"{inbound.namespace}/{inbound.canonical_name or inbound.workload_name}#{digest[:8]}"
