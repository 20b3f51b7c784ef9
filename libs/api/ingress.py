"""Kubernetes' kinds Ingress and IngressClass, as far as the mesh reads them.

What an API server has already checked is not declared again; other fields are ignored.
"""

from enum import StrEnum

from libs.api.kubernetes import ObjectReference
from libs.api.resource import Part, Resource

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
"""The older form of `ingressClassName`; it wins where both are set."""

DEFAULT_CLASS_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"
CONTROLLER = "istio.io/ingress-controller"
"""The controller of an IngressClass whose Ingresses are the mesh's business."""

CLASS = "istio"
"""What the class is called if MeshConfig's `ingressClass` does not call it otherwise."""


class PathType(StrEnum):
    """How a path is compared; Prefix goes by whole segments."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    IMPLEMENTATION_SPECIFIC = "ImplementationSpecific"


class BackendPort(Part, frozen=True):
    """A port of a Service, by number or by name."""

    number: int = 0
    name: str = ""


class BackendService(Part, frozen=True):
    """A Service of the Ingress' own namespace."""

    name: str
    port: BackendPort = BackendPort()


class Backend(Part, frozen=True):
    """Where requests go; `resource` is something else than a Service, and is passed over."""

    service: BackendService | None = None
    resource: ObjectReference | None = None


class IngressPath(Part, frozen=True):
    """A path of a host."""

    backend: Backend
    path: str = ""
    path_type: PathType = PathType.IMPLEMENTATION_SPECIFIC


class IngressHttp(Part, frozen=True):
    """The paths of a host."""

    paths: tuple[IngressPath, ...] = ()


class IngressRule(Part, frozen=True):
    """A host, which may begin with a wildcard label; empty is every host."""

    host: str = ""
    http: IngressHttp | None = None


class IngressTls(Part, frozen=True):
    """Hosts for which TLS ends with the certificate of a Secret."""

    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class IngressSpec(Part, frozen=True):
    """What an Ingress lets in."""

    ingress_class_name: str = ""
    default_backend: Backend | None = None
    tls: tuple[IngressTls, ...] = ()
    rules: tuple[IngressRule, ...] = ()


class Ingress(Resource, frozen=True):
    """HTTP from outside to Services."""

    spec: IngressSpec = IngressSpec()

    @property
    def class_name(self) -> str:
        """The name of the class, empty if there is none."""
        return self.metadata.annotations.get(CLASS_ANNOTATION) or self.spec.ingress_class_name


class IngressClassSpec(Part, frozen=True):
    """Whose business the Ingresses of a class are."""

    controller: str = ""


class IngressClass(Resource, frozen=True):
    """A class of Ingresses."""

    spec: IngressClassSpec = IngressClassSpec()
