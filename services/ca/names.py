"""Names: which DNS names a certificate carries beside its identity.

Only the control plane's own accounts get any, so that their clients can check a server's name as
TLS does. They follow from the identity alone: a request cannot ask for one.
"""

import re

from libs.model import revisions
from libs.model.ids import SpiffeId

_OWN_ACCOUNT = re.compile(r"seine-[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?")
_ALIASES = {"seine-config-push": ("istiod",)}  # agents made for Istio look for this name


def dns_names(
    identity: SpiffeId, system_namespace: str, revision: str = revisions.DEFAULT
) -> tuple[str, ...]:
    """Return the DNS names of `identity`; most have none.

    Services of a revision have its names besides, and stay who they are: all revisions have the
    same accounts, and each its own CA, under one root.
    """
    account = identity.service_account
    if identity.namespace != system_namespace or not _OWN_ACCOUNT.fullmatch(account):
        return ()
    plain = (account, *_ALIASES.get(account, ()))
    hosts = dict.fromkeys((*plain, *(revisions.named(host, revision) for host in plain)))
    return tuple(f"{host}.{system_namespace}.svc" for host in hosts)
