"""Root secret: the authority of a cluster, in Secrets, followed by every replica.

The Secret `cacerts`, if there is one, is an authority that an operator plugged in; else the CA's
own root lives in `istio-ca-secret`, which the first replica makes and all others read. What signs
while something else is plugged in is recorded in `seine-ca-in-use` (see `services.ca.in_use`).

A replica signs only with what it has seen confirmed lately (`Rules.patience`). One that was
stopped, or cut off from the API server, says "later" until it has read again: so a step of the
rotation that others took while it was away cannot be undone by what it signs, and after
twice the patience nobody signs as before the step.

A Secret of ours that goes back in time (another generation, from a backup) or disappears is not
followed; the leader writes the state that is in use again. Other changes are made by the leader
alone, each with the resourceVersion that it read, which the API server compares.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from libs.kube.client import Client
from libs.kube.errors import (
    BusyError,
    ConflictError,
    KubeError,
    ServerError,
    UnreachableError,
)
from libs.pki import authority
from libs.pki.authority import Authority
from libs.pki.errors import AuthorityError, PkiError
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from services.ca import beginning, expiry, in_use, metrics, rotation, succession
from services.ca.beginning import Begin, Follow, Found, GoOn, Make
from services.ca.errors import UnconfirmedError
from services.ca.in_use import InUse, Record
from services.ca.proof import Proof
from services.ca.rotation import State
from services.ca.rules import Rules
from services.ca.secrets import IN_USE, OWN, PLUGGED_IN, REVOKED, ROTATE, USE_NOW, Secret, Secrets

logger = logging.getLogger(__name__)

_BACKOFF = Backoff(first=0.2, limit=10.0)
_TRANSIENT = (UnreachableError, ServerError, BusyError)


class RootSecret:
    """The authority of this moment. Call `load` first, then let `follow` run."""

    def __init__(
        self, client: Client, namespace: str, *, clock: Clock, rules: Rules, proof: Proof
    ) -> None:
        self._secrets = Secrets(client, namespace)
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
        self._recorded = ""  # the same of what is in use
        self._changed = False
        self._ignores = False
        self.state: State | None = None
        """Of our own root; None while another is plugged in."""
        self.in_use: InUse | None = None
        """Of what is plugged in; None while our own root signs."""
        self.due: InUse | None = None
        """What the leader has to record of what is plugged in."""
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

    async def load(self, hindered: Callable[[str], None] = lambda _: None) -> None:
        """Read everything for the first time; make a root if there is none.

        Waits for the API server, and for Secrets that can be used; `hindered` is told why.

        Raises:
            KubeError: this service may not read or write Secrets.

        """
        attempt = 0
        while True:
            try:
                await self._first()
            except _TRANSIENT as error:
                reason = f"secrets cannot be read yet: {error}"
                logger.warning("secrets cannot be read yet", extra={"reason": str(error)})
            except AuthorityError as error:
                reason = str(error)
                metrics.RELOADS.labels(what="secret", result="refused").inc()
                logger.error("nothing signs", extra={"reason": reason})  # noqa: TRY400  # no bug
            else:
                return
            hindered(reason)
            await self._clock.sleep(_BACKOFF.delay(attempt, chance()))
            attempt += 1

    async def follow(self) -> None:
        """Notice changed Secrets until cancelled."""
        while True:
            await self._clock.sleep(self.rules.check)
            await self.refresh()

    async def refresh(self) -> None:
        """Read the Secrets now, and use what is in them if it may be used."""
        try:
            async with self._lock:
                await self._read()
        except (KubeError, PkiError) as error:
            metrics.RELOADS.labels(what="secret", result="refused").inc()
            logger.warning("secret not used", extra={"reason": str(error)})
        self._tell()

    def _tell(self) -> None:
        """Tell everybody, if another authority is in use."""
        changed, self._changed = self._changed, False
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
            asked = {ROTATE: self.asked} if self.asked else None
            content = rotation.encode(state)
            found = await self._secrets.put(OWN, content, over=self._version, annotations=asked)
            self._use_state(state, found)
        self._tell()

    async def record(self, state: InUse, *, over: InUse | None) -> None:
        """Record what of a plugged-in authority is in use, where `over` is, and use it.

        Raises:
            ConflictError: somebody else wrote meanwhile: read again.
            KubeError: it could not be written.

        """
        async with self._lock:
            if self.in_use is not over:
                message = f"the secret {IN_USE} was read again meanwhile"
                raise ConflictError(409, "Conflict", message)
            content = in_use.encode(state)
            found = await self._secrets.put(IN_USE, content, over=self._recorded)
            self._use_plugged_in(state, found)
        self._tell()

    async def cover(self, lifetime: int) -> None:
        """Record that certificates may live for `lifetime` seconds, before one does.

        Raises:
            KubeError: it could not be recorded.

        """
        while self.longest < lifetime:
            try:
                await self._grant_longer(lifetime)
            except ConflictError:
                await self.refresh()

    async def _grant_longer(self, lifetime: int) -> None:
        if self.in_use is not None:
            await self.record(in_use.grant_longer(self.in_use, lifetime), over=self.in_use)
        elif self.state is not None:
            await self.write(rotation.grant_longer(self.state, lifetime), over=self.state)

    @property
    def longest(self) -> int:
        """The longest life of a certificate, in seconds."""
        state = self.in_use or self.state
        return state.record.longest if state else self._longest

    async def _first(self) -> None:
        """Let what signs sign on; see `services.ca.beginning`."""
        wanted, kept = await self._plugged_in(), await self._secrets.get(IN_USE)
        found = Found(wanted, kept, await self._secrets.get(OWN))
        self._recorded = kept.version if kept else ""
        match beginning.decide(found, now=self._clock.now(), longest=self._longest):
            case GoOn(state, secret):
                self._use_state(state, secret)
            case Follow(recorded, secret):
                self._use_plugged_in(recorded, secret)
            case Begin(begun):
                await self._alone(self.record(begun, over=None))
            case Make():
                await self._alone(self.write(self._made(), over=None))
                logger.info("root made", extra={"secret": OWN})
        self._changed = False

    async def _plugged_in(self) -> Secret | None:
        """Return what an operator wants, and say what of it nobody heeds."""
        found = await self._secrets.get(PLUGGED_IN)
        ignored = found is not None and REVOKED in found.content
        if ignored and not self._ignores:
            extra = {"secret": PLUGGED_IN, "key": REVOKED}
            logger.warning("revoked certificates have no effect: nobody reads them", extra=extra)
        self._ignores = ignored
        metrics.REVOCATION_IGNORED.set(ignored)
        return found

    def _made(self) -> State:
        return rotation.begin(self.fresh(), longest=self._longest)

    async def _alone(self, writing: Awaitable[None]) -> None:
        try:
            await writing
        except ConflictError as error:
            message = "another replica was faster"
            raise UnreachableError(message) from error

    async def _read(self) -> None:
        """Use what the Secrets hold."""
        wanted = await self._plugged_in()
        if wanted is not None or self.in_use is not None:
            await self._read_plugged_in(wanted)
            return
        found = await self._secrets.get(OWN)
        if found is None:
            self._version, self.astray = "", True
            message = f"the secret {OWN} is gone"
            raise AuthorityError(message)
        self._take_own(found)

    def _take_own(self, found: Secret) -> None:
        before, self._version = self._version, found.version
        self.asked = found.annotations.get(ROTATE, "")
        if found.version == before and not self.astray:
            self._confirm()
            return
        self.astray = True
        state = self._decoded(found)
        if state.record.generation < self._generation:
            message = f"the secret {OWN} is of the past"
            raise AuthorityError(message)
        self._use_state(state, found)

    async def _read_plugged_in(self, wanted: Secret | None) -> None:
        """Use what is recorded, and see whether what is wanted may follow it."""
        self.due = None
        self._take_recorded(await self._secrets.get(IN_USE))
        if wanted is None:
            message = f"the secret {PLUGGED_IN} is gone"  # what signed goes on
            raise AuthorityError(message)
        now = self._clock.now()
        new = authority.parse(wanted.content, now=now)
        if in_use.is_same(new, self._authority):
            return
        name = authority.identifier(new.certificate)
        if wanted.annotations.get(USE_NOW) != name and now <= self._authority.validity[1]:
            try:
                succession.check(await self._proved(), new, now=now)
            except AuthorityError as error:
                message = f"{error} (to use it whoever trusts it: {USE_NOW}={name})"
                raise AuthorityError(message) from error
        if self.due is None:  # first things first
            self.due = in_use.follow(self._signing(), new, now=now)

    def _take_recorded(self, kept: Secret | None) -> None:
        """Use what the leader has recorded last, if it is not of the past."""
        self._recorded = kept.version if kept else ""
        found = self._legible(kept)
        if kept and found and self._is_news(found):
            self._use_plugged_in(found, kept)
        elif found is None or self.in_use is None or _is_older(found, self.in_use):
            self.due = self._signing(after=found)
        self._confirm()  # nothing else signs meanwhile

    def _legible(self, kept: Secret | None) -> InUse | None:
        try:
            return in_use.decode(kept.content, now=self._clock.now()) if kept else None
        except AuthorityError as error:
            logger.warning("secret not used", extra={"secret": IN_USE, "reason": str(error)})
            return None

    def _is_news(self, found: InUse) -> bool:
        if self.in_use is None:  # our own root has signed until now
            return found.record.own >= self._generation
        return _is_older(self.in_use, found)

    def _signing(self, *, after: InUse | None = None) -> InUse:
        """What signs now, to be recorded: also our own root, when another is plugged in."""
        if self.in_use is not None:
            return self.in_use
        record = Record(
            generation=after.record.generation + 1 if after else 1,
            longest=self.longest,
            since=self._since,
            own=self._generation,
        )
        return in_use.begin(self._authority, record)

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

    def _decoded(self, found: Secret) -> State:
        return rotation.decode(found.content, now=self._clock.now(), longest=self._longest)

    def _use_state(self, state: State, found: Secret) -> None:
        self.state, self._version = state, found.version
        self.asked = found.annotations.get(ROTATE, "")
        self.astray = False
        self._generation = state.record.generation
        # Roots that were there at the start are taken to be known: nobody else could have signed.
        since = self._clock.now() if hasattr(self, "_authority") else 0.0
        names = [authority.identifier(root) for root in state.signer.roots]
        self._use(state.signer, {name: self._since.get(name, since) for name in names})

    def _use_plugged_in(self, state: InUse, found: Secret) -> None:
        self.in_use, self._recorded, self.due = state, found.version, None
        self.state, self._version, self.astray = None, "", False
        self._use(state.signer, state.record.since)

    def _use(self, new: Authority, since: dict[str, float]) -> None:
        before = getattr(self, "_authority", None)
        self._changed |= before is None or not in_use.is_same(before, new)
        self._since = since
        self._authority = new
        self._confirm()

    def _confirm(self) -> None:
        self._confirmed = self._clock.monotonic()
        expiry.publish(self._authority, now=self._clock.now(), plugged_in=self.in_use is not None)


def _is_older(one: InUse, than: InUse) -> bool:
    return one.record.generation < than.record.generation
