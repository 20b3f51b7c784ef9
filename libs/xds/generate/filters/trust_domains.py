"""Trust domains that are one: identities written with any of them mean all of them.

While a mesh moves from one trust domain to another, its settings list the old one as an alias.
`cluster.local` in a policy always stands for the mesh's own domain, whatever its name.
"""

from collections.abc import Iterable, Sequence

from libs.model.settings import MeshSettings

_OWN = "cluster.local"


class TrustDomains:
    """The trust domain of a mesh with its aliases."""

    def __init__(self, settings: MeshSettings) -> None:
        self.names = tuple(
            dict.fromkeys(
                name for name in (settings.trust_domain, *settings.trust_domain_aliases) if name
            )
        )

    def principals(self, written: Iterable[str]) -> tuple[str, ...]:
        """Return identities with each that names this mesh written in all its trust domains."""
        return _unique(found for one in written for found in self._spellings(one))

    def domains(self, written: Iterable[str]) -> tuple[str, ...]:
        """Return trust domains with each that is this mesh's joined by the others."""
        groups = (self.names if name in self.names else (name,) for name in written)
        return _unique(name for group in groups for name in group)

    def _spellings(self, principal: str) -> Sequence[str]:
        segments = principal.split("/")
        domain = segments[0]
        if len(segments) != 5 or domain == "*" or not self._is_own(domain):
            return (principal,)
        rest = "/".join(segments[1:])
        # A pattern that already covers a name need not be spelt out for it.
        return [principal if _covers(domain, name) else f"{name}/{rest}" for name in self.names]

    def _is_own(self, domain: str) -> bool:
        return domain == _OWN or any(_meets(domain, name) for name in self.names)


def _meets(pattern: str, name: str) -> bool:
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return pattern == name or _covers(pattern, name)


def _covers(pattern: str, name: str) -> bool:
    return pattern.startswith("*") and name.endswith(pattern[1:])


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
