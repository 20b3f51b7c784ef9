"""What `seinectl check` finds of control planes that are gone, or whose webhooks nobody answers.

A revision that is deleted takes along what its manifests made. It leaves what it wrote while it
ran: its Lease, and the entries of machines that were connected to it; who made tags for it has a
webhook configuration and two roles more. Certificates, roots and their Lease are every revision's,
and stay. The first kind does no harm and is only named; a configuration that leads to nobody
stops pods, or resources, and is an error. What removes each is said; nothing is removed here.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from libs.inject import tags, words
from libs.kube.client import Client
from libs.kube.errors import ForbiddenError, NotFoundError
from libs.model import revisions
from services.ctl import answering, tag
from services.ctl.check import Finding

ADMISSION, LEFT = "admission", "leftovers"
VALIDATOR = "validation.istio.io"
"""Ends the names of webhooks that judge resources."""
LEASE, CONTROLLER = "seine-discovery", "seine-config-push"
"""What a revision calls its Lease, and itself in the entries of its machines."""
MANY = 10
"""Of one kind, that are named at most in one command."""

_ADMISSION = "/apis/admissionregistration.k8s.io/v1"
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
_ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
_ENTRIES = "/apis/networking.istio.io/v1/workloadentries"
_CONTROLLED_BY = "istio.io/workloadController"
_INJECTING = "mutatingwebhookconfiguration"
_VALIDATING = "validatingwebhookconfiguration"

Json = Mapping[str, Any]
IsGone = Callable[[str], bool]
"""Tells of a revision whether neither its pods nor its webhooks are there."""


class _Left(Struct, frozen=True):
    """Objects that nobody needs any more."""

    what: str
    names: Sequence[str]
    command: str  # to which the names are added


async def findings(client: Client, namespace: str, running: Collection[str]) -> list[Finding]:
    """Look at webhook configurations and at what is left; `running`: revisions that have pods."""
    try:
        injectors = await _listed(client, f"{_ADMISSION}/mutatingwebhookconfigurations")
        validators = await _listed(client, f"{_ADMISSION}/validatingwebhookconfigurations")
        injectors = [one for one in injectors if tags.is_injector(one)]
        validators = [one for one in validators if _is_strict_validator(one)]
        found = await _unanswered(client, [*injectors, *validators])
    except ForbiddenError as error:
        return [_not_looked(ADMISSION, error)]
    asked = len(injectors) + len(validators)
    if not found:
        text = f"{asked} webhook configurations, somebody answers each"
        found = [Finding(subject=ADMISSION, good=True, text=text)]
    return [*found, await _leftovers(client, namespace, injectors, running=running)]


async def _unanswered(client: Client, configurations: Sequence[Json]) -> list[Finding]:
    found = []
    for one in configurations:
        if why := await answering.nobody(client, answering.target_of(one)):
            text = f"{one['metadata']['name']} stops {_stopped(one)}: {why}"
            found.append(Finding(subject=ADMISSION, good=False, text=text, hint=_mending(one)))
    return found


def _stopped(configuration: Json) -> str:
    """Return what is refused while nobody answers."""
    if not tags.is_injector(configuration):
        return "changes of Istio's resources"
    name, revision = _names(configuration)
    return f"pods that ask for {name or revision or revisions.DEFAULT}"


def _names(configuration: Json) -> tuple[str, str]:
    """Return the tag and the revision of a configuration."""
    labels = configuration["metadata"].get("labels") or {}
    return str(labels.get(tags.LABEL, "")), str(labels.get(words.REVISION, ""))


def _mending(configuration: Json) -> str:
    name = configuration["metadata"]["name"]
    label, _ = _names(configuration)
    if label:
        return tag.remedy(label)
    kind = _INJECTING if tags.is_injector(configuration) else _VALIDATING
    return f"Bring its pods up again, or, if it is gone for good: kubectl delete {kind} {name}"


async def _leftovers(
    client: Client, namespace: str, injectors: Sequence[Json], *, running: Collection[str]
) -> Finding:
    def is_gone(revision: str) -> bool:
        return revision not in running and tags.own_configuration(injectors, revision) is None

    try:
        leases = await _listed(client, _LEASES.format(namespace))
        roles = await _listed(client, _ROLES, {"labelSelector": tags.LABEL})
        entries = await _listed(client, _ENTRIES)
    except ForbiddenError as error:
        return _not_looked(LEFT, error)
    known = {one["metadata"]["name"] for one in injectors}
    left = [
        *_leases(namespace, leases, is_gone),
        *_roles(roles, known),
        *_entries(entries, is_gone),
    ]
    if not left:
        return Finding(subject=LEFT, good=True, text="nothing of revisions that are gone")
    text = ", ".join(f"{one.what} {_few(one.names)}" for one in left)
    hint = "; ".join(f"{one.command} {' '.join(one.names[:MANY])}" for one in left)
    return Finding(subject=LEFT, good=True, text=f"of revisions that are gone: {text}", hint=hint)


def _leases(namespace: str, leases: Sequence[Json], is_gone: IsGone) -> Iterator[_Left]:
    names = [one["metadata"]["name"] for one in leases]
    of = {name: _revision(name, LEASE) for name in names}
    if gone := sorted(name for name, revision in of.items() if revision and is_gone(revision)):
        yield _Left("Lease", gone, f"kubectl delete lease -n {namespace}")


def _roles(roles: Sequence[Json], known: set[str]) -> Iterator[_Left]:
    """Yield roles of tags whose configuration somebody has deleted by hand."""
    gone = []
    for one in roles:
        named = [it for rule in one.get("rules") or () for it in rule.get("resourceNames") or ()]
        if named and known.isdisjoint(named):
            gone.append(one["metadata"]["name"])
    if gone:
        yield _Left("role", sorted(gone), "kubectl delete clusterrole,clusterrolebinding")


def _entries(entries: Sequence[Json], is_gone: IsGone) -> Iterator[_Left]:
    by_namespace: dict[str, list[str]] = {}
    for one in entries:
        controller = (one["metadata"].get("annotations") or {}).get(_CONTROLLED_BY, "")
        revision = _revision(str(controller).partition("@")[0], CONTROLLER)
        if revision and is_gone(revision):
            place = by_namespace.setdefault(one["metadata"]["namespace"], [])
            place.append(one["metadata"]["name"])
    for namespace, names in sorted(by_namespace.items()):
        command = f"kubectl delete workloadentry -n {namespace}"
        yield _Left(f"machine in {namespace}", sorted(names), command)


def _revision(name: str, own: str) -> str:
    """Return the revision in what it calls its `own`; empty if that is not of this name."""
    if name == own:
        return revisions.DEFAULT
    return name.removeprefix(f"{own}-") if name.startswith(f"{own}-") else ""


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return ", ".join(names[:MANY]) + more


def _is_strict_validator(configuration: Json) -> bool:
    """Tell whether a configuration is one of those that judge resources, and refuses."""
    hooks = configuration.get("webhooks") or ()
    ours = (it for it in hooks if str(it.get("name", "")).endswith(VALIDATOR))
    return any(it.get("failurePolicy", "Fail") == "Fail" for it in ours)


async def _listed(client: Client, path: str, params: Mapping[str, str] | None = None) -> list[Json]:
    """Return all objects of a kind; none if there is no such kind."""
    try:
        answer = await client.get(path, params)
    except NotFoundError:
        return []
    return list(answer["items"])


def _not_looked(subject: str, error: ForbiddenError) -> Finding:
    return Finding(subject=subject, good=True, text=f"not looked at: {error.message}")
