"""Telemetry of one workload: what the policies of mesh, namespace and workload come to.

Of each scope the oldest policy counts. A nearer scope replaces the providers that a wider one
named, and adds to its overrides of metrics; whatever it leaves open stays as it was. Where nobody
names a provider the mesh's default ones are used, and for logs the file that the settings name.
"""

from collections.abc import Iterable, Sequence

from msgspec import structs

from libs.model.providers import FileLog, Logger, OpenTelemetry, Prometheus, Provider, Tracer
from libs.model.settings import MeshSettings
from libs.model.telemetry import (
    Log,
    LogRule,
    SideTelemetry,
    Telemetry,
    TelemetryPolicy,
    Tracing,
    TracingRule,
)
from libs.model.workload import Workload
from libs.proxy.attachments import attaches
from libs.proxy.peers import selects

OWN_COLLECTOR = ""
"""The provider of traces of a proxy whose own settings say where its spans go."""

FILE = "envoy"
"""The provider of logs that every mesh has."""


_INTERVAL = 5_000
_SHORTEST = 1_000
"""Milliseconds: more often than that Envoy would send nothing anyway."""

Place = tuple[str, int]
"""The host and a port of a service."""


def effective(
    policies: Iterable[TelemetryPolicy],
    workload: Workload,
    settings: MeshSettings,
    *,
    lasting: bool = False,
) -> Telemetry:
    """Return what a workload tells; `policies` are those of its own and of the root namespace.

    `lasting`: its agent counts the bytes of connections while they last.
    """
    chain = _chain(sorted(policies, key=_age), workload, settings)
    return Telemetry(
        client=_side("client", chain, settings, lasting=lasting),
        server=_side("server", chain, settings, lasting=lasting),
        refs=tuple(policy.ref for policy in chain),
    )


def reachable(telemetry: Telemetry, settings: MeshSettings, places: frozenset[Place]) -> Telemetry:
    """Return telemetry without what would go to services or ports that the proxy does not see."""
    lost = {it.name for it in settings.providers if not _servers(it) <= places}
    if not lost:
        return telemetry
    return structs.replace(
        telemetry,
        client=_without(telemetry.client, lost),
        server=_without(telemetry.server, lost),
    )


def _servers(provider: Provider) -> frozenset[Place]:
    """Return where what is told goes to."""
    if isinstance(provider, FileLog) or not isinstance(provider, Tracer | Logger):
        return frozenset()
    sampler = provider.sampler if isinstance(provider, OpenTelemetry) else None
    servers = (provider, sampler) if sampler else (provider,)
    return frozenset((server.host, server.port) for server in servers)


def _without(side: SideTelemetry, lost: set[str]) -> SideTelemetry:
    tracing = None if side.tracing and side.tracing.provider in lost else side.tracing
    logs = tuple(log for log in side.logs if log.provider not in lost)
    return structs.replace(side, tracing=tracing, logs=logs)


def _age(policy: TelemetryPolicy) -> tuple[int, str, str]:
    return policy.created, policy.name, policy.namespace


def _chain(
    policies: Sequence[TelemetryPolicy], workload: Workload, settings: MeshSettings
) -> list[TelemetryPolicy]:
    """Return the policies that count, the widest first."""
    root, own = settings.root_namespace, workload.namespace
    wide = [it for it in policies if not it.selector and not it.targets]
    found = [next((it for it in wide if it.namespace == root), None)]
    if own != root:
        found.append(next((it for it in wide if it.namespace == own), None))
    narrow = (it for it in policies if _is_for(it, workload, settings))
    found.append(next(narrow, None))
    return [it for it in found if it is not None]


def _is_for(policy: TelemetryPolicy, workload: Workload, settings: MeshSettings) -> bool:
    if policy.targets:
        return attaches(policy, workload, settings)
    at_home = policy.namespace == workload.namespace
    return at_home and bool(policy.selector) and selects(policy.selector, workload.labels)


def _side(
    side: str, chain: Sequence[TelemetryPolicy], settings: MeshSettings, *, lasting: bool
) -> SideTelemetry:
    named = [policy.metrics_providers for policy in chain if policy.metrics_providers]
    metrics = named[-1] if named else settings.default_providers.metrics
    overrides = (rule for policy in chain for rule in policy.metrics)
    intervals = [policy.metrics_interval for policy in chain if policy.metrics_interval]
    interval = max(intervals[-1], _SHORTEST) if intervals else _INTERVAL
    return SideTelemetry(
        tracing=_tracing(side, chain, settings),
        logs=_logs(side, chain, settings),
        metrics=not metrics or any(_counts(name, settings) for name in metrics),
        overrides=tuple(rule for rule in overrides if rule.side in {"", side}),
        interval=interval if lasting else 0,
    )


def _counts(name: str, settings: MeshSettings) -> bool:
    written = [it for it in settings.providers if it.name == name]
    return isinstance(written[0], Prometheus) if written else name == "prometheus"


def _tracing(side: str, chain: Sequence[TelemetryPolicy], settings: MeshSettings) -> Tracing | None:
    providers, merged = settings.default_providers.tracing, TracingRule()
    for rule in (rule for policy in chain for rule in policy.tracing if rule.side in {"", side}):
        providers = rule.providers or providers
        merged = structs.replace(
            merged,
            sampling=merged.sampling if rule.sampling is None else rule.sampling,
            disabled=_over(merged.disabled, rule.disabled),
            tags=rule.tags or merged.tags,
            mesh_tags=_over(merged.mesh_tags, rule.mesh_tags),
            by_request_id=_over(merged.by_request_id, rule.by_request_id),
            propagate=_over(merged.propagate, rule.propagate),
        )
    kinds = {it.name: it for it in settings.providers}
    known = (it for it in providers if isinstance(kinds.get(it), Tracer))
    spans = settings.proxy.spans
    provider = next(known, None)
    if provider is None and not providers and settings.tracing and spans.collector:
        provider = OWN_COLLECTOR
    if provider is None:
        return None
    default = 1.0 if spans.sampling is None else spans.sampling
    return Tracing(
        provider=provider,
        sampling=default if merged.sampling is None else merged.sampling,
        disabled=bool(merged.disabled),
        tags=merged.tags or spans.tags,
        mesh_tags=spans.mesh_tags if merged.mesh_tags is None else merged.mesh_tags,
        by_request_id=merged.by_request_id is not False,
        propagate=merged.propagate is not False,
    )


def _over(wider: bool | None, nearer: bool | None) -> bool | None:
    return wider if nearer is None else nearer


def _logs(side: str, chain: Sequence[TelemetryPolicy], settings: MeshSettings) -> tuple[Log, ...]:
    defaults = settings.default_providers.logs
    active = dict.fromkeys(defaults, "") if defaults else {"": ""}
    for policy in chain:
        rules = [rule for rule in policy.logs if rule.side in {"", side}]
        if rules:
            active = _next(active, rules, defaults)
    kinds = {it.name: it for it in settings.providers}
    return tuple(
        Log(name, expression)
        for name, expression in active.items()
        if name in {"", FILE} or isinstance(kinds.get(name), Logger)
    )


def _next(
    active: dict[str, str], rules: Sequence[LogRule], defaults: Sequence[str]
) -> dict[str, str]:
    """Return the providers with their filters after one scope has had its say."""
    replaced = any(rule.providers for rule in rules)
    found = {} if replaced else dict(active)
    for rule in rules:
        # Whoever switches on what nobody named means the file.
        for name in rule.providers or tuple(active) or tuple(defaults) or (FILE,):
            if rule.disabled:
                found.pop(name, None)
            else:
                found[name] = rule.filter or active.get(name, "")
    return found
