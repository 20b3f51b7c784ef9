"""Resources: read back, patched, and made anew only if a patch touched them."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from google.protobuf.message import Message

from libs.xds.generate.patches.ledger import Entry, Ledger
from libs.xds.types import NamedResource, resource

M = TypeVar("M", bound=Message)


def each(
    ledger: Ledger,
    resources: Iterable[NamedResource],
    kind: type[M],
    *,
    change: Callable[[M], bool],
) -> list[NamedResource]:
    """Return `resources` after `change`, which returns False for what is to go."""
    found = []
    for one in resources:
        message = kind.FromString(one.body)
        kept = change(message)
        touched = ledger.touched()
        if not touched:
            found.append(one)
        elif kept:
            body = message.SerializeToString(deterministic=True)
            found.append(
                resource(one.name, one.type_url, body=body, sources=(*one.sources, *touched))
            )
    return found


def added(
    ledger: Ledger, entries: Iterable[Entry], *, type_url: str, taken: Iterable[str]
) -> list[NamedResource]:
    """Return the resources that patches add; who came first keeps a name."""
    names = set(taken)
    found = []
    for entry in entries:
        if entry.value is None:
            continue
        name = str(getattr(entry.value, "name", ""))
        if not name or name in names:
            entry.fail("value.name: there is one of this name" if name else "value.name: missing")
            continue
        names.add(name)
        ledger.hit(entry)
        body = entry.value.SerializeToString(deterministic=True)
        found.append(resource(name, type_url, body=body, sources=ledger.touched()))
    return found
