"""Local: what a CA without a cluster stands on: files, and keys that verify tokens."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from libs.model.ids import SpiffeId
from libs.pki import tokens
from libs.pki.authority import Authority
from libs.rpc.svid import Svid
from libs.runtime.clock import Clock
from services.ca import authn, certificates
from services.ca.caller import Caller, Prove
from services.ca.settings import Settings
from services.ca.trust import Trust

TRUST_DOMAIN = "cluster.local"


class Local:
    """The parts that only a CA without a cluster has."""

    def __init__(self, settings: Settings, folder: Path, keys: Path, *, clock: Clock) -> None:
        """Read everything for the first time; make a root if the folder has none.

        Raises:
            PkiError: something that is there cannot be used.
            OSError: a file cannot be read or written.

        """
        self.trust_domain = settings.trust_domain or TRUST_DOMAIN
        self._trust = Trust(folder, keys, root_file=settings.root_file, clock=clock)
        self._trust.load(self.trust_domain)

        def policy() -> tokens.Policy:
            return tokens.Policy(self._trust.keys, settings.token_issuer, settings.token_audience)

        self.prove: Prove = authn.by_keys(policy, trust_domain=self.trust_domain, clock=clock)

    @property
    def authority(self) -> Authority:
        """What signs."""
        return self._trust.authority

    def on_authority(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each change of the authority."""
        self._trust.on_authority(callback)

    async def cover(self, lifetime: int) -> None:
        """Nothing has to be prepared: files are rotated by whoever writes them."""

    async def impersonate(self, caller: Caller, wanted: str) -> SpiffeId:
        """Refuse: nobody here knows which pods run where."""
        return await certificates.never(caller, wanted)

    def work(self, svid: Svid) -> list[Coroutine[Any, Any, None]]:
        """Return what runs beside the ports."""
        del svid  # nobody is asked
        return [self._trust.follow()]
