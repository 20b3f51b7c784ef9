"""Domains: the host names under which a client may ask for a service.

A name is short relative to the client's own DNS domain, so two clients may mean different services
by one name; a name that a service really has is never taken by the short form of another.
"""

from collections.abc import Iterator
from ipaddress import ip_address

from libs.model.service import Resolution
from libs.proxy.memo import WeakMemo
from libs.proxy.scope import ScopedService


def of_service(
    scoped: ScopedService, host: str, dns_domain: str
) -> tuple[list[str], frozenset[str]]:
    """Return the domains of a service, the most proper first, and which of them are short forms.

    `host` is the service's own name, which brings its aliases along, or one alias alone. The list
    is shared: it is not the caller's to change.
    """
    context = (host, _relation(scoped, dns_domain))
    return _memo.get(scoped, context, lambda: _of_service(scoped, host, dns_domain))


def _relation(scoped: ScopedService, dns_domain: str) -> str:
    """Return what of a client's domain decides the names of a service: all that is near enough."""
    own, _, suffix = dns_domain.partition(".svc.")
    near = scoped.aliases or scoped.service.host.partition(".svc.")[0].endswith(f".{own}")
    return dns_domain if near else suffix


def _of_service(
    scoped: ScopedService, host: str, dns_domain: str
) -> tuple[list[str], frozenset[str]]:
    service = scoped.service
    if host != service.host:
        shorter = list(_shorter(host, dns_domain))
        return [bracketed(host), *shorter], frozenset(shorter)
    found: list[str] = []
    short: set[str] = set()
    for name in (host, *scoped.aliases):
        shorter = list(_shorter(name, dns_domain))
        found += [bracketed(name), *shorter]
        short.update(shorter)
    if service.resolution is Resolution.ORIGINAL and service.registry == "Kubernetes":
        # A pod of a headless service has a name of its own in front of the service's.
        found += [f"*.{domain}" for domain in found]
    found += [bracketed(address) for address in service.addresses if "/" not in address]
    return found, frozenset(short)


def bracketed(host: str) -> str:
    """Return `host` as it stands in a URL: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host and _is_ip(host) else host


_memo: WeakMemo[tuple[list[str], frozenset[str]]] = WeakMemo()


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _shorter(host: str, dns_domain: str) -> Iterator[str]:
    if _is_ip(host):
        return
    yield f"{host}."  # absolute, as a resolver's search list never touches it
    own, found, suffix = dns_domain.partition(".svc.")
    front, _, rest = host.partition(".svc.")
    name, _, namespace = front.partition(".")
    if not found or rest != suffix or not name or not namespace or "." in namespace:
        return
    if namespace == own:
        yield from (name, f"{front}.svc", front)
    else:
        yield from (front, f"{front}.svc")
