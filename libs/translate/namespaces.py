"""Namespaces: one row for each Namespace."""

from libs.api import kubernetes
from libs.model.mesh import Key, Table
from libs.model.workload import Namespace
from libs.translate.state import Derived
from libs.translate.view import View


def derive(_: View, namespace: kubernetes.Namespace) -> Derived:
    """Return the row of a namespace."""
    name = namespace.metadata.name
    row = Namespace(name=name, ref=namespace.ref, labels=namespace.metadata.labels)
    return Derived(rows=((Key(Table.NAMESPACE, name), row),))
