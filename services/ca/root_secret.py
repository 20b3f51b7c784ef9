"""Root secret: the authority of a cluster, in Secrets, followed by every replica.

The Secret `cacerts`, if there is one, is an authority that an operator plugged in; else the CA's
own root lives in `istio-ca-secret`, which the first replica makes and all others read.

A replica signs only with what it has seen confirmed lately (`Rules.patience`). One that was
stopped, or cut off from the API server, says "later" until it has read again: so a step of the
rotation that others took while it was away cannot be undone by what it signs, and after
twice the patience nobody signs as before the step.

A Secret that goes back in time (another generation, from a backup) or disappears is not followed;
the leader writes the state that is in use again. Other changes are made by the leader alone, each
with the resourceVersion that it read, which the API server compares.
"""

import asyncio
import base64
import logging
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from libs.kube.client import Client
from libs.kube.errors import (
    BusyError,
    ConflictError,
    KubeError,
    NotFoundError,
    ServerError,
    UnreachableError,
)
from libs.pki import authority
from libs.pki.authority import Authority
from libs.pki.errors import AuthorityError, PkiError
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from services.ca import expiry, metrics, rotation, succession
from services.ca.errors import UnconfirmedError
from services.ca.proof import Proof
from services.ca.rotation import State

logger = logging.getLogger(__name__)

OWN, PLUGGED_IN = "istio-ca-secret", "cacerts"
TYPE = "istio.io/ca-root"
ROTATE = "seine.io/rotate"
"""Annotation on our own Secret: each new value asks for one rotation."""
CHECK_SECONDS = 5.0
"""Between two looks, or a sixth of the patience if that is less."""

_BACKOFF = Backoff(first=0.2, limit=10.0)
_TRANSIENT = (UnreachableError, ServerError, BusyError)


class _Secret(Struct, frozen=True):
    content: Mapping[str, bytes]
    version: str
    asked: str


class Rules(Struct, frozen=True):
    """How a root is made, and how long certificates live unless more is asked for."""

    organization: str
    longest: int  # seconds
    root: float = authority.ROOT_SECONDS
    patience: float = 60.0

    @property
    def settle(self) -> float:
        """Seconds until all replicas have taken a step over, or do not sign."""
        return 2 * self.patience

    @property
    def check(self) -> float:
        """Seconds between two looks at the Secrets."""
        return min(CHECK_SECONDS, self.patience / 6)


class RootSecret:
    """The authority of this moment. Call `load` first, then let `follow` run."""

    def __init__(
        self, client: Client, namespace: str, *, clock: Clock, rules: Rules, proof: Proof
    ) -> None:
        self._client = client
        self._folder = f"/api/v1/namespaces/{namespace}/secrets"
        self._clock = clock
        self.rules = rules
        self._longest = rules.longest
        self._proof = proof
        self._on_change: list[Callable[[], None]] = []
        self._authority: Authority
        self._confirmed = float("-inf")
        self._generation = 0
        self._lock = asyncio.Lock()
        self._since: dict[str, float] = {}  # root → when it came into the bundle
        self._version = ""  # of the Secret to write over; empty if there is none
        self.state: State | None = None
        """Of our own root; None while another is plugged in."""
        self.astray = False
        """Whether our Secret is gone, or of the past: then the leader writes `state` again."""
        self.asked = ""
        """The latest request to rotate."""

    @property
    def authority(self) -> Authority:
        """What signs.

        Raises:
            UnconfirmedError: it is not known whether it still does.

        """
        if self._clock.monotonic() - self._confirmed > self.rules.patience:
            message = "the signing certificate was not confirmed lately"
            raise UnconfirmedError(message)
        return self._authority

    @property
    def roots(self) -> bytes:
        """What everybody is to trust, as PEM, as far as this replica knows."""
        return self._authority.root_pem

    def on_authority(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each change of the authority."""
        self._on_change.append(callback)

    async def load(self) -> None:
        """Read everything for the first time, waiting for the API server; make a root if needed.

        Raises:
            AuthorityError: what is there cannot be used.
            KubeError: this service may not read or write Secrets.

        """
        attempt = 0
        while True:
            try:
                await self._first()
            except _TRANSIENT as error:
                logger.warning("secrets cannot be read yet", extra={"reason": str(error)})
                await self._clock.sleep(_BACKOFF.delay(attempt, chance()))
                attempt += 1
            else:
                return

    async def follow(self) -> None:
        """Notice changed Secrets until cancelled."""
        while True:
            await self._clock.sleep(self.rules.check)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the Secrets now, and use what is in them if it may be used."""
        try:
            async with self._lock:
                changed = await self._read()
        except (KubeError, PkiError) as error:
            metrics.RELOADS.labels(what="secret", result="refused").inc()
            logger.warning("secret not used", extra={"reason": str(error)})
            return
        if changed:
            metrics.RELOADS.labels(what="secret", result="used").inc()
            for callback in self._on_change:
                callback()

    def fresh(self, after: float = 0.0) -> Authority:
        """Return a new root, known to nobody yet, that ends later than `after`."""
        now = self._clock.now()
        # Roots begin two minutes early, and end as much earlier.
        lifetime = max(self.rules.root, after - now + 300.0)
        return authority.generate(self.rules.organization, now=now, lifetime=lifetime)

    async def write(self, state: State, *, over: State | None) -> None:
        """Replace our Secret, which holds `over`, by `state`, and use it.

        Raises:
            ConflictError: somebody else wrote meanwhile: read again.
            KubeError: it could not be written.

        """
        async with self._lock:
            if self.state is not over:
                raise ConflictError(409, "Conflict", f"the secret {OWN} was read again meanwhile")
            self._use_state(state, _secret(await self._put(state)))
        for callback in self._on_change:
            callback()

    async def cover(self, lifetime: int) -> None:
        """Record that certificates may live for `lifetime` seconds, before one does.

        Raises:
            KubeError: it could not be recorded.

        """
        if self.state is None:
            self._longest = max(self._longest, lifetime)
            return
        while self.state.record.longest < lifetime:
            try:
                await self.write(rotation.grant_longer(self.state, lifetime), over=self.state)
            except ConflictError:
                await self.refresh()

    @property
    def longest(self) -> int:
        """The longest life of a certificate, in seconds."""
        return self.state.record.longest if self.state else self._longest

    async def _first(self) -> None:
        found = await self._get(PLUGGED_IN)
        if found is not None:
            self._use(authority.parse(found.content, now=self._clock.now()))
            return
        found = await self._get(OWN)
        if found is None:
            try:
                await self.write(rotation.begin(self.fresh(), longest=self._longest), over=None)
            except ConflictError:  # another replica was faster
                found = await self._get(OWN)
            else:
                logger.info("root made", extra={"secret": OWN})
                return
        if found is None:
            message = f"the secret {OWN} came and went"
            raise UnreachableError(message)
        self._use_state(self._decoded(found), found)

    async def _read(self) -> bool:
        """Use what the Secrets hold; tell whether it is something new."""
        plugged_in = await self._get(PLUGGED_IN)
        if plugged_in is not None:
            return await self._take_plugged_in(plugged_in)
        if self.state is None:
            self._confirm()  # nothing else signs; what was plugged in last goes on
            message = f"the secret {PLUGGED_IN} is gone"
            raise AuthorityError(message)
        found = await self._get(OWN)
        if found is None:
            self._version, self.astray = "", True
            message = f"the secret {OWN} is gone"
            raise AuthorityError(message)
        return self._take_own(found)

    def _take_own(self, found: _Secret) -> bool:
        before, self._version, self.asked = self._version, found.version, found.asked
        if found.version == before and not self.astray:
            self._confirm()
            return False
        self.astray = True
        state = self._decoded(found)
        if state.record.generation < self._generation:
            message = f"the secret {OWN} is of the past"
            raise AuthorityError(message)
        changed = state.record.generation != self._generation
        self._use_state(state, found)
        return changed

    async def _take_plugged_in(self, found: _Secret) -> bool:
        self._confirm()  # whatever comes of it: nothing else signs meanwhile
        new = authority.parse(found.content, now=self._clock.now())
        if new.chain == self._authority.chain and new.roots == self._authority.roots:
            return False
        succession.check(await self._proved(), new, now=self._clock.now())
        self.state, self._version = None, ""
        self._use(new)
        return True

    async def _proved(self) -> Authority:
        """Return the authority with only those of its roots that everybody trusts."""
        old = self._authority
        roots = []
        for root in old.roots:
            name = authority.identifier(root)
            since = self._since.get(name, 0.0)
            if await self._proof.holds(name, since=since, longest=self.longest):
                roots.append(root)
        return Authority(
            key=old.key,
            certificate=old.certificate,
            intermediates=old.intermediates,
            roots=roots,
        )

    def _decoded(self, found: _Secret) -> State:
        return rotation.decode(found.content, now=self._clock.now(), longest=self._longest)

    def _use_state(self, state: State, found: _Secret) -> None:
        self.state, self._version, self.asked = state, found.version, found.asked
        self.astray = False
        self._generation = state.record.generation
        self._use(state.signer)

    def _use(self, new: Authority) -> None:
        # Roots that were there at the start are taken to be known: nobody else could have signed.
        first = not hasattr(self, "_authority")
        since = 0.0 if first else self._clock.now()
        names = [authority.identifier(root) for root in new.roots]
        self._since = {name: self._since.get(name, since) for name in names}
        self._authority = new
        self._confirm()

    def _confirm(self) -> None:
        self._confirmed = self._clock.monotonic()
        expiry.publish(self._authority, now=self._clock.now())

    async def _put(self, state: State) -> Any:  # noqa: ANN401  # JSON
        # Whole, so that keys of a state that is over do not stay behind.
        body = _manifest(rotation.encode(state), self.asked, self._version)
        if self._version:
            return await self._client.request("PUT", f"{self._folder}/{OWN}", body=body)
        return await self._client.request("POST", self._folder, body=body)

    async def _get(self, name: str) -> _Secret | None:
        try:
            return _secret(await self._client.get(f"{self._folder}/{name}"))
        except NotFoundError:
            return None


def _secret(raw: Mapping[str, Any]) -> _Secret:
    data: Mapping[str, str] = raw.get("data") or {}
    annotations: Mapping[str, str] = raw["metadata"].get("annotations") or {}
    return _Secret(
        {name: base64.b64decode(value) for name, value in data.items()},
        raw["metadata"]["resourceVersion"],
        annotations.get(ROTATE, ""),
    )


def _manifest(content: Mapping[str, bytes], asked: str, version: str) -> Mapping[str, Any]:
    metadata: dict[str, Any] = {"name": OWN}
    if asked:
        metadata["annotations"] = {ROTATE: asked}
    if version:
        metadata["resourceVersion"] = version
    data = {name: base64.b64encode(value).decode() for name, value in content.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": TYPE,
        "metadata": metadata,
        "data": data,
    }
