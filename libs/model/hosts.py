"""Host names: the grammar of `*`, short names and their expansion, and which pattern is nearer."""


def is_wildcard(host: str) -> bool:
    """Tell whether `host` stands for many hosts (`*` or `*.suffix`)."""
    return host.startswith("*")


def matches(pattern: str, host: str) -> bool:
    """Tell whether `pattern` covers all of `host`, which may be a pattern itself."""
    if pattern == "*":
        return True
    if is_wildcard(pattern):
        return len(host) >= len(pattern) and host.removeprefix("*").endswith(pattern[1:])
    return pattern == host


def specificity(host: str) -> tuple[int, int]:
    """Return a key by which the more specific host is greater: exact, then longest wildcard."""
    return (0 if is_wildcard(host) else 1, len(host))


def most_specific(patterns: list[str], host: str) -> str | None:
    """Return the pattern that covers `host` and is nearest to it, or None."""
    covering = [pattern for pattern in patterns if matches(pattern, host)]
    return max(covering, key=specificity, default=None)


def expand(host: str, namespace: str, cluster_domain: str) -> str:
    """Return the full name of a host written in a resource of `namespace`.

    Only single-label names are short: `reviews` becomes `reviews.<namespace>.svc.<domain>`,
    while `reviews.other` stays as it is.
    """
    if "." in host or host == "*" or not host:
        return host.lower()
    return f"{host}.{namespace}.svc.{cluster_domain}".lower()
