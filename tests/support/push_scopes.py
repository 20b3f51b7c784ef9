"""Scopes of proxies for tests of what config-push makes of them."""

from libs.model.mesh import Mesh
from libs.proxy.scope import ProxyScope
from libs.proxy.scoper import Scoper
from tests.support.mesh import proxy


def scope_of(mesh: Mesh, name: str = "client", namespace: str = "shop") -> ProxyScope:
    return Scoper().scope(mesh, proxy(name, namespace))
