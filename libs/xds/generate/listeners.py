"""Listeners of a proxy: those for what its application calls, then those for its own ports.

A router has neither: it listens for its gateways alone.
"""

from libs.proxy.scope import ProxyScope
from libs.xds.generate import gateway_listeners, inbound_listeners, outbound_listeners
from libs.xds.types import NamedResource


def generate(scope: ProxyScope) -> list[NamedResource]:
    """Return all listeners of `scope`. Of two that want one name the outbound one stays."""
    outbound = outbound_listeners.generate(scope) + gateway_listeners.generate(scope)
    taken = {listener.name for listener in outbound}
    return outbound + [one for one in inbound_listeners.generate(scope) if one.name not in taken]
