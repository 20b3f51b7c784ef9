"""In use: which plugged-in authority signs, since when its roots are out. Pure: data in, data out.

The Secret `cacerts` says what its operator wants; the old signer is gone from there as soon as
there is a new one. So what signs meanwhile, until everybody trusts the new root, is kept in a
Secret of our own, `seine-ca-in-use`: in Istio's layout, with `in-use.json` beside it. A replica
that starts goes on with that, and with the waiting as far as it had come.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from libs.pki import authority
from libs.pki.authority import Authority
from libs.pki.errors import AuthorityError

_RECORD = "in-use.json"


class Record(Struct, frozen=True):
    """What is not in certificates. Times are seconds since the epoch."""

    generation: int = 1
    longest: int = 24 * 3600
    """The longest life that any certificate was given, in seconds."""
    since: dict[str, float] = {}
    """Identifier of each root → since when it is in the bundle; 0 if it always was."""
    own: int = 0
    """Generation of our own root when it was replaced. If that went on, this is past."""


class InUse(Struct, frozen=True):
    """Who signs, and the record of it."""

    record: Record
    signer: Authority


def begin(signer: Authority, record: Record) -> InUse:
    """Return that `signer` signs; a root about which the record says nothing was always known.

    Nobody else can have signed before, if nobody recorded it.
    """
    since = {name: record.since.get(name, 0.0) for name in _names(signer)}
    return InUse(replace(record, since=since), signer)


def follow(before: InUse, signer: Authority, *, now: float) -> InUse:
    """Return that `signer` signs instead; roots that are new are in the bundle from now on."""
    since = {name: before.record.since.get(name, now) for name in _names(signer)}
    return InUse(_stepped(replace(before.record, since=since)), signer)


def grant_longer(before: InUse, seconds: int) -> InUse:
    """Return that certificates may live for `seconds`."""
    return InUse(_stepped(replace(before.record, longest=seconds)), before.signer)


def is_same(one: Authority, other: Authority) -> bool:
    """Tell whether both sign with one certificate and trust the same roots."""
    return one.chain == other.chain and one.roots == other.roots


def encode(state: InUse) -> dict[str, bytes]:
    """Return what to write into the Secret. It holds a private key."""
    return authority.to_content(state.signer) | {_RECORD: msgspec.json.encode(state.record)}


def decode(content: Mapping[str, bytes], *, now: float) -> InUse:
    """Return what the Secret holds.

    Raises:
        AuthorityError: it is not whole, or does not fit together.

    """
    signer = authority.read(content)
    # One that has expired is still the one that others trust.
    authority.check(signer, now=min(now, signer.validity[1]))
    try:
        record = msgspec.json.decode(content[_RECORD], type=Record)
    except KeyError as error:
        message = f"{_RECORD} is missing"
        raise AuthorityError(message) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        message = f"{_RECORD} cannot be read: {error}"
        raise AuthorityError(message) from error
    if record.since.keys() != set(_names(signer)):
        message = f"{_RECORD} is of other roots: $.since"
        raise AuthorityError(message)
    return InUse(record, signer)


def _names(signer: Authority) -> list[str]:
    return [authority.identifier(root) for root in signer.roots]


def _stepped(record: Record) -> Record:
    return replace(record, generation=record.generation + 1)
