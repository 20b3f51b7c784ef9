"""Rotation: the self-signed root over time: prepare, activate, retire. Pure: data in, data out.

A `State` is all that a Secret holds; each step makes another, with the next generation. In the
Secret it is Istio's layout with keys of our own beside it, so that Istio's CA could take it over:
`ca-cert.pem` and `ca-key.pem` sign, `root-cert.pem` are all roots to trust, `next-cert.pem` and
`next-key.pem` wait, and `rotation.json` says since when. When steps are due is in `libs.pki.slots`;
whether everybody trusts the next root is found out by `services.ca.proof`.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from libs.pki import authority, bundle, keys, slots
from libs.pki.authority import Authority, Certificate
from libs.pki.errors import AuthorityError, PkiError
from libs.pki.slots import Slot, Slots

_ROTATION = "rotation.json"
_NEXT_CERTIFICATE, _NEXT_KEY = "next-cert.pem", "next-key.pem"
_ROOTS = "root-cert.pem"
_SIGNER, _SIGNER_KEY = "ca-cert.pem", "ca-key.pem"


class Record(Struct, frozen=True):
    """What is not in certificates. Times are seconds since the epoch."""

    slots: Slots
    generation: int = 1
    longest: int = 24 * 3600
    """The longest life that any certificate was given, in seconds."""
    prepared: float = 0.0
    """Since when the next root is in the bundle."""
    heeded: str = ""
    """The last request to rotate that was carried out."""


class State(Struct, frozen=True):
    """Who signs, who comes next, and the record of both."""

    record: Record
    signer: Authority
    """With all roots that are trusted, those of the next and of retiring ones included."""
    coming: Authority | None = None


def begin(first: Authority, *, longest: int) -> State:
    """Return the state of a root that has just been made."""
    return State(Record(Slots(_slot(first)), longest=longest), first)


def prepare(state: State, coming: Authority, *, now: float) -> State:
    """Return the state with a next root, in the bundle from now on."""
    record = replace(state.record, slots=slots.prepare(state.record.slots, _slot(coming)))
    record = _stepped(replace(record, prepared=now))
    return State(
        record, _trusting(state.signer, [*state.signer.roots, *coming.roots], record.slots), coming
    )


def activate(state: State, *, now: float, heeded: str, settle: float) -> State:
    """Return the state in which the next root signs; the old one for at most `settle` seconds more.

    Raises:
        ValueError: there is none.

    """
    last = now + settle + state.record.longest
    after = slots.activate(state.record.slots, last_leaf=last)
    if state.coming is None:
        message = "there is no next authority"
        raise ValueError(message)
    record = _stepped(replace(state.record, slots=after, prepared=0.0, heeded=heeded))
    return State(record, _trusting(state.coming, state.signer.roots, after))


def retire(state: State, *, now: float) -> State:
    """Return the state without the roots of which nothing is in use any more."""
    after = slots.retire(state.record.slots, now)
    record = _stepped(replace(state.record, slots=after))
    return State(record, _trusting(state.signer, state.signer.roots, after), state.coming)


def grant_longer(state: State, seconds: int) -> State:
    """Return the state in which certificates may live for `seconds`."""
    return State(_stepped(replace(state.record, longest=seconds)), state.signer, state.coming)


def next_step(
    state: State,
    *,
    now: float,
    proved: bool,
    asked: str,
    settle: float,
    make: Callable[[float], Authority],
) -> tuple[str, State] | None:
    """Return what to do now and the state after it; None if nothing is due.

    Args:
        state: of this moment.
        now: seconds since the epoch.
        proved: whether everybody is known to trust the next root.
        asked: the last request to rotate; one that has been carried out is in the record.
        settle: seconds until all replicas have taken a step over, or do not sign.
        make: returns a fresh root that ends after the moment it is given.

    """
    record = state.record
    forced = bool(asked) and asked != record.heeded
    if slots.should_retire(record.slots, now):
        return "retire", retire(state, now=now)
    if record.slots.next is None:
        if forced or slots.should_prepare(record.slots, now):
            return "prepare", prepare(state, make(record.slots.current.not_after), now=now)
        return None
    due = slots.should_activate(record.slots, now, trusted_by_all=proved)
    if due or (forced and proved):
        return "activate", activate(state, now=now, heeded=asked, settle=settle)
    return None


def encode(state: State) -> dict[str, bytes]:
    """Return what to write into the Secret. It holds private keys."""
    content = authority.to_content(state.signer)
    content[_ROTATION] = msgspec.json.encode(state.record)
    if state.coming is not None:
        content[_NEXT_CERTIFICATE] = bundle.to_pem([state.coming.certificate])
        content[_NEXT_KEY] = keys.to_pem(state.coming.key)
    return content


def decode(content: Mapping[str, bytes], *, now: float, longest: int) -> State:
    """Return the state that a Secret holds; one that Istio made has only a signer.

    Raises:
        AuthorityError: it is not whole, or does not fit together.

    """
    if _SIGNER in content and not content.get(_ROOTS):
        content = {**content, _ROOTS: content[_SIGNER]}
    signer = authority.read(content)
    # One that has expired is still the one whose successor has to be made.
    authority.check(signer, now=min(now, signer.validity[1]))
    if _ROTATION not in content:
        return begin(signer, longest=longest)
    try:
        record = msgspec.json.decode(content[_ROTATION], type=Record)
        coming = _coming(content, signer) if record.slots.next else None
    except (msgspec.DecodeError, PkiError, KeyError) as error:
        message = f"the record of the rotation does not fit: {error}"
        raise AuthorityError(message) from error
    _check(record, signer, coming)
    return State(record, signer, coming)


def _coming(content: Mapping[str, bytes], signer: Authority) -> Authority:
    certificate = bundle.parse(content[_NEXT_CERTIFICATE])[0]
    return Authority(
        key=keys.load(content[_NEXT_KEY]),
        certificate=certificate,
        intermediates=(),
        roots=signer.roots,
    )


def _check(record: Record, signer: Authority, coming: Authority | None) -> None:
    held = {authority.identifier(root) for root in signer.roots}
    if record.slots.current.id != authority.identifier(signer.certificate):
        message = "the record is of another signer"
        raise AuthorityError(message)
    if record.slots.next and coming is not None:
        if record.slots.next.id != authority.identifier(coming.certificate):
            message = "the record is of another next root"
            raise AuthorityError(message)
        if keys.spki(keys.of_certificate(coming.certificate)) != keys.spki(coming.key.public_key()):
            message = "the next key does not belong to the next root"
            raise AuthorityError(message)
    if missing := set(record.slots.trusted) - held:
        message = f"roots are missing: {sorted(missing)}"
        raise AuthorityError(message)


def _stepped(record: Record) -> Record:
    return replace(record, generation=record.generation + 1)


def _slot(made: Authority) -> Slot:
    start, end = made.validity
    return Slot(authority.identifier(made.certificate), start, end)


def _trusting(signer: Authority, known: Iterable[Certificate], after: Slots) -> Authority:
    """Return `signer` with the roots that the slots name, in their order."""
    by_id = {authority.identifier(root): root for root in known}
    return Authority(
        key=signer.key,
        certificate=signer.certificate,
        intermediates=signer.intermediates,
        roots=[by_id[name] for name in after.trusted],
    )
