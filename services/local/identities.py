"""Identities: tokens as a cluster would mint them, signed by a key that lives as long as the run.

Every workload and every service of the control plane gets a token of its service account, bound to
its pod, in a file that is written anew long before the token expires, as a kubelet does it.
The CA and config-push are given the public half of the key.
"""

import os
from pathlib import Path

from libs.model.ids import SpiffeId
from libs.pki import files, jwk, keys, tokens
from libs.pki.tokens import Bound
from libs.runtime.clock import Clock

LIFETIME_SECONDS = 3600.0


class Issuer:
    """The token issuer of one run."""

    def __init__(self, directory: Path, trust_domain: str, clock: Clock) -> None:
        self._key = keys.generate()
        self._trust_domain = trust_domain
        self._clock = clock
        self._issued: dict[Path, tuple[SpiffeId, str]] = {}
        self.keys_file = directory / "token-keys.json"
        files.write_public(self.keys_file, jwk.document(self._key.public_key()))

    def issue(self, path: Path, namespace: str, account: str, *, pod: str) -> Path:
        """Write the token of a service account in a pod, and keep it fresh from now on."""
        identity = SpiffeId(self._trust_domain, namespace, account)
        self._issued[path] = (identity, pod)
        self._write(path)
        return path

    async def run(self) -> None:
        """Renew all tokens at half of their life, until cancelled."""
        while True:
            await self._clock.sleep(LIFETIME_SECONDS / 2)
            for path in self._issued:
                self._write(path)

    def _write(self, path: Path) -> None:
        identity, pod = self._issued[path]
        token = tokens.mint(
            identity,
            pod=Bound(pod, f"{pod}.{identity.namespace}"),
            key=self._key,
            now=self._clock.now(),
            lifetime=LIFETIME_SECONDS,
        )
        owner = path.stat() if path.exists() else path.parent.stat()
        files.write_private(path, token.encode())
        _give(path, owner.st_uid, owner.st_gid)


def _give(path: Path, user: int, group: int) -> None:
    if os.geteuid() == 0:
        os.chown(path, user, group)
