"""Ownership: whose a host is, in a mesh where hosts are strictly their owners'.

As in Istio anybody may route any host, or declare it, for everybody who sees the resource. With
`MeshSettings.strict_hosts` what is said of another namespace's host holds in the namespace that
says so, and nowhere else, unless the owner has agreed. The root namespace may speak for all.

A host below the cluster's own domain is that of the namespace in its name, whether there is such a
Service or not; any other host is the oldest ServiceEntry's. A pattern that covers the cluster's
domain is nobody's, and so is any other that a routing names: it may cover hosts of others.
"""

from libs.api import kubernetes
from libs.api.networking.service_entry import ServiceEntry
from libs.api.resource import Metadata, Resource
from libs.model import hosts
from libs.translate.groups import Group
from libs.translate.view import View

AGREED = "seine.io/hosts-routed-by"
"""The annotation of a Service or ServiceEntry that names who else may route its hosts."""

_SERVICES = "svc"


def others(view: View, resource: Resource, host: str) -> str:
    """Return whose a host is, in words, or an empty text if `resource` may speak for it."""
    namespace, settings = resource.metadata.namespace, view.settings
    if not settings.strict_hosts or namespace == settings.root_namespace:
        return ""
    below = f".{_SERVICES}.{settings.cluster_domain}"
    every = below.endswith(host[1:]) if hosts.is_wildcard(host) else "." not in host
    if every:
        return "several namespaces"
    inside = host.endswith(below)
    if hosts.is_wildcard(host) and not inside and not isinstance(resource, ServiceEntry):
        return "whoever declares what it covers"
    found = _in_cluster(view, host, below) if inside else _known(view, host)
    if found is None:
        return ""
    agreed = {part.strip() for part in found.annotations.get(AGREED, "").split(",")}
    free = namespace == found.namespace or namespace in agreed
    return "" if free else f"namespace {found.namespace}"


def _in_cluster(view: View, host: str, below: str) -> Metadata:
    """Return what is known of the Service that a host below the cluster's domain is named after."""
    rest, _, namespace = host.removesuffix(below).rpartition(".")
    service = view.resource(kubernetes.Service, namespace, rest.rpartition(".")[2])
    return service.metadata if service else Metadata(name=rest, namespace=namespace)


def _known(view: View, host: str) -> Metadata | None:
    """Return what is known of the Service that a host is a short name of, or else of its entry."""
    name, _, namespace = host.removesuffix(f".{_SERVICES}").partition(".")
    if namespace and "." not in namespace and not hosts.is_wildcard(host):
        service = view.resource(kubernetes.Service, namespace, name)
        if service is not None:
            return service.metadata
    return _declared(view, host)


def _declared(view: View, host: str) -> Metadata | None:
    found = (one.metadata for one in view.resources(ServiceEntry, Group.DECLARED, host))
    return min(found, key=_age, default=None)


def _age(metadata: Metadata) -> tuple[int, str, str]:
    return metadata.creation_timestamp or 0, metadata.name, metadata.namespace
