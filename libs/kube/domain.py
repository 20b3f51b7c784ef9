"""Domain: the cluster's DNS domain, as the kubelet tells it to each pod.

It is nowhere in the API; a pod's resolv.conf searches `<namespace>.svc.<domain>` first.
"""

DEFAULT = "cluster.local"


def cluster_domain(resolv_conf: str) -> str:
    """Return the domain that a pod's resolv.conf searches; `cluster.local` if it does not say."""
    for line in reversed(resolv_conf.splitlines()):
        words = line.split()
        if words[:1] != ["search"]:
            continue
        for searched in map(str.lower, words[1:]):
            _, dot, domain = f".{searched.rstrip('.')}".partition(".svc.")
            if dot and domain:
                return domain
    return DEFAULT
