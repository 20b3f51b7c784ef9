"""Rules about hosts with a namespace before them, as Gateways and Sidecars write them.

`namespace/host`, where the namespace may be `*` for any or `.` for the own one. The host is a full
name, a wildcard `*.name`, or `*`: a short name would mean another host in each namespace.
"""

from libs.api.validate.hosts import is_address, is_label, wrong_pattern

EXCLUDE = "~"


def wrong_gateway_host(host: str) -> str:
    """Return what is wrong with a host of a Gateway's server, or an empty text.

    The namespace may be left out, and the host may be an address.
    """
    namespace, slash, name = host.partition("/")
    if not slash:
        return _wrong_host(host, address=True)
    if not namespace or not name:
        return f"{host[:100]!r} needs both a namespace and a host around the slash"
    if namespace not in {"*", "."} and not is_label(namespace):
        return f"{namespace[:100]!r} is not '.', '*' or the name of a namespace"
    return _wrong_host(name, address=True)


def wrong_egress_host(host: str) -> str:
    """Return what is wrong with a host of a Sidecar's egress listener, or an empty text.

    A `~` before the namespace leaves the host out.
    """
    namespace, slash, name = host.partition("/")
    if not slash or not namespace or not name:
        return f"{host[:100]!r} is not of the form namespace/host"
    plain = namespace.removeprefix(EXCLUDE)
    if plain not in {"", "*", "."} and not is_label(plain):
        return f"{namespace[:100]!r} is not '.', '*', '~' or the name of a namespace"
    return _wrong_host(name, address=False)


def _wrong_host(host: str, *, address: bool) -> str:
    if host == "*":
        return ""
    if "." not in host:
        return f"{host[:100]!r} is a short name; write the full one"
    if address and is_address(host):
        return ""
    if host.startswith("*") and not host.startswith("*."):
        return f"{host[:100]!r}: '*' may only stand for whole labels"
    return wrong_pattern(host)
